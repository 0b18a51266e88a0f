"""What the command line of `maya-train export` asks for."""

import re
from dataclasses import dataclass
from pathlib import Path

from maya_train.errors import ConfigError

KINDS = ("hf", "onnx", "safetensors")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_NAME = re.compile(r"\w[\w .-]*")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One export."""

    source: Path
    """A run's folder, a stage's, a model's, or another program's checkpoint."""
    kind: str
    """hf, onnx or safetensors."""
    out: Path | None = None
    """The folder to write; None for one of its own under `source`."""
    lang: str | None = None
    """The one language to write for, where the format has no place for several."""
    head: str | None = None
    """Which head a Hugging Face folder gets; None for CTC where there is one."""
    name: str | None = None
    """What the model is called on its card; None for the run's name."""
    licence: str | None = None
    """Identifier of the licence as the Hugging Face hub writes it; None where nobody has decided."""
    scores: tuple[Path, ...] = ()
    """Files of `maya-eval score --json` or of hypotheses; empty for those that lie in the run."""
    profile: str = "indic-strict-v1"
    """Scoring profile of files of hypotheses."""
    test_set: str = "held-out test set"
    """What the scores were measured on."""
    index: Path | None = None
    """Training index; None for the one that the run names."""
    languages: tuple[str, ...] = ()
    """Languages of a model that names none itself."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.kind not in KINDS:
            raise ConfigError(f"--to must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.licence is not None and not _LICENCE.fullmatch(self.licence):
            raise ConfigError(f"--license must be an identifier such as apache-2.0, got {self.licence!r}")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ConfigError(f"--name must be of letters, digits, '.', '-' and '_', got {self.name!r}")
        if self.kind == "safetensors" and self.lang is not None:
            raise ConfigError(
                "--lang is for hf and onnx, which have no place for languages; safetensors keeps all of them"
            )
        if self.kind != "hf" and self.head is not None:
            raise ConfigError(f"--head is for hf; {self.kind} has no choice of heads, got {self.head!r}")
