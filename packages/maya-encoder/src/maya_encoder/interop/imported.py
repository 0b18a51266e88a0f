"""What every reader of other people's checkpoints gives back, and the model that it makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fit import BadCheckpoint, check_fit
from maya_encoder.tokenizer import Tokenizer

FRONTENDS = ("modern", "legacy")


@dataclass
class Imported:
    """A foreign checkpoint in this package's own terms."""

    config: AcousticModelConfig
    """The model that the checkpoint describes."""
    tokenizer: Tokenizer | None
    """None where the checkpoint has an encoder alone."""
    tensors: dict[str, Tensor]
    """Under the names of `AcousticModel.state_dict()`."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what was chosen for the user, or left out; a `Doubt` where it may change numbers."""
    reason: str = ""
    """Why there is no tokenizer or head, where there is none."""


def build(imported: Imported, source: str | Path) -> AcousticModel:
    """The model in evaluation mode.

    Args:
        imported: what a reader found.
        source: the checkpoint, for messages.

    Raises:
        BadCheckpoint: there is no head to write with, or names, shapes or vocabulary do not fit.
    """
    if imported.tokenizer is None:
        reason = imported.reason or f"{source} holds an encoder and no head that this package has"
        raise BadCheckpoint(f"{reason}; a model can be started from its encoder with include=['encoder']")
    check_vocabulary(imported.tensors, imported.tokenizer, source)
    model = AcousticModel(imported.config, imported.tokenizer)
    check_fit(model.state_dict(), imported.tensors, source)
    model.load_state_dict(imported.tensors)
    model.import_notes = list(imported.notes)
    return model.eval()


def check_vocabulary(tensors: dict[str, Tensor], tokenizer: Tokenizer, source: str | Path) -> None:
    """Refuse a tokenizer whose pieces, with the blank, are not the rows of the heads."""
    wanted = tokenizer.vocab_size + 1
    for name in ("heads.ctc.decoder_layers.0.weight", *_embeddings(tensors)):
        rows = len(tensors[name]) if name in tensors else wanted
        if rows != wanted:
            raise BadCheckpoint(
                f"{source}: the tokenizer does not fit the head: it has {tokenizer.vocab_size} pieces, which"
                f" with the blank are {wanted} rows, but {name} has {rows}"
            )


def use_frontend(config: AcousticModelConfig, frontend: str) -> None:
    """Make `config` compute features, and subsample them, the `modern` or the `legacy` way.

    Raises:
        ValueError: `frontend` is neither.
    """
    if frontend not in FRONTENDS:
        raise ValueError(f"`frontend` must be modern or legacy, got {frontend!r}")
    config.frontend = {**config.frontend, "frontend": frontend}
    if hasattr(config.encoder, "masked_subsampling"):
        config.encoder.masked_subsampling = frontend == "modern"


def _embeddings(tensors: dict[str, Tensor]) -> Sequence[str]:
    return [
        name for name in tensors if name.startswith("heads.") and name.endswith("prediction.embed.weight")
    ]
