"""Front end, FastConformer, CTC and transducer heads, decoding and checkpoints.

Legend of dimension letters: B utterances, S samples, T frames, F mel bins, D encoder width, U target tokens,
V vocabulary with blank, A heads. The blank is the last id.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
    from maya_encoder.checkpoint import load, save
    from maya_encoder.hypothesis import Hypothesis
    from maya_encoder.tokenizer import Tokenizer

__version__ = "0.1.0"
__all__ = ["AcousticModel", "AcousticModelConfig", "Hypothesis", "Tokenizer", "load", "save"]

_HOMES = {
    "AcousticModel": "acoustic_model",
    "AcousticModelConfig": "acoustic_model",
    "Hypothesis": "hypothesis",
    "Tokenizer": "tokenizer",
    "load": "checkpoint",
    "save": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
