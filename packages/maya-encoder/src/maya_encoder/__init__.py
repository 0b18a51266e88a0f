"""Front end, FastConformer, CTC and transducer heads, decoding and checkpoints.

Legend of dimension letters: B utterances, S samples, T frames, F mel bins, D encoder width, U target tokens,
V vocabulary with blank, J joint width, P prediction width, A heads. The blank is the last id.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
    from maya_encoder.checkpoint import load, save
    from maya_encoder.decoding import DecodingOptions
    from maya_encoder.decoding.align import align
    from maya_encoder.expand import expand_layers
    from maya_encoder.fastconformer import FastConformerConfig
    from maya_encoder.features import LogMel
    from maya_encoder.heads.ctc import CTCConfig
    from maya_encoder.heads.rnnt import RNNTConfig
    from maya_encoder.heads.tdt import TDTConfig
    from maya_encoder.heads.transducer_loss import TransducerSettings, transducer_loss
    from maya_encoder.hypothesis import Hypothesis, Word
    from maya_encoder.partial import load_into
    from maya_encoder.prefix_states import unit_states
    from maya_encoder.tokenizer import Tokenizer

__version__ = "0.2.0"
__all__ = [
    "AcousticModel",
    "AcousticModelConfig",
    "CTCConfig",
    "DecodingOptions",
    "FastConformerConfig",
    "Hypothesis",
    "LogMel",
    "RNNTConfig",
    "TDTConfig",
    "Tokenizer",
    "TransducerSettings",
    "Word",
    "align",
    "expand_layers",
    "load",
    "load_into",
    "save",
    "transducer_loss",
    "unit_states",
]

_HOMES = {
    "AcousticModel": "acoustic_model",
    "AcousticModelConfig": "acoustic_model",
    "CTCConfig": "heads.ctc",
    "DecodingOptions": "decoding",
    "FastConformerConfig": "fastconformer",
    "Hypothesis": "hypothesis",
    "LogMel": "features",
    "RNNTConfig": "heads.rnnt",
    "TDTConfig": "heads.tdt",
    "Tokenizer": "tokenizer",
    "TransducerSettings": "heads.transducer_loss",
    "Word": "hypothesis",
    "align": "decoding.align",
    "expand_layers": "expand",
    "load": "checkpoint",
    "load_into": "partial",
    "save": "checkpoint",
    "transducer_loss": "heads.transducer_loss",
    "unit_states": "prefix_states",
}
"""Where each public name is made; it is imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
