"""What can go wrong in synthesis, each in one sentence for the person at the terminal."""


class SynthesisError(ValueError):
    """The corpus cannot be made as asked; finished shards are kept."""


class MissingExtra(SynthesisError, ImportError):
    """A package of the `synth` extra is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"synthesis needs {package}; pip install 'maya-data[synth]'")
