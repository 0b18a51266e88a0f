"""What the demo makes before it trains: how much speech, in which languages, which tokenizer."""

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maya_train.errors import ConfigError


@dataclass(kw_only=True)
class DemoConfig:
    """The fields of configs/demo/<recipe>.yaml."""

    langs: list[str] = field(default_factory=list)
    """Languages to synthesise."""
    sentences: int = 400
    """Training sentences a language."""
    words: int = 2
    """Clips of every single word of the lexicon."""
    valid: int = 12
    """Validation sentences a language, in voices of their own."""
    test: int = 50
    """Test sentences a language, in voices that are in no other set."""
    model_type: str = "char"
    """Kind of SentencePiece model."""
    script: str = "common"
    """native, or common: the parallel Indic blocks folded onto one."""
    disk_gib: float = 1.0
    """Free space that must be there before anything starts."""
    minutes: dict[str, float] = field(default_factory=dict)
    """Expected minutes of each step on two idle cores, shown before it starts."""


def load_demo_config(configs: Path, recipe: str) -> DemoConfig:
    """Returns the demo settings of a recipe.

    Raises:
        ConfigError: the recipe has none, or a key is unknown.
    """
    path = configs / "demo" / f"{recipe}.yaml"
    if not path.is_file():
        have = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ConfigError(f"recipe={recipe}: no demo of that name; configs/demo has: {have}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(DemoConfig), OmegaConf.load(path))
    except OmegaConfBaseException as error:
        raise ConfigError(f"demo/{path.name}: {error.full_key}: {str(error).splitlines()[0]}") from None
    config = OmegaConf.to_object(merged)
    assert isinstance(config, DemoConfig)
    return config
