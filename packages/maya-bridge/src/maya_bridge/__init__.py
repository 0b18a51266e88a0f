"""Projectors, prompt and decoder LLM: from encoder frames to text.

Shapes: B utterances, S samples, T frames, F mel bins, D encoder width, U target tokens,
V vocabulary with blank, Q speech positions, L LLM positions, H LLM hidden size, A heads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maya_bridge.adapter_checkpoint import load_adapters, save_adapters
    from maya_bridge.checkpoint import load, save
    from maya_bridge.corruption import Corruption
    from maya_bridge.decoding import Cutting, DecodeOptions, SpeculativeOptions
    from maya_bridge.hypothesis import SpeechHypothesis
    from maya_bridge.llm import LLMConfig, load_llm
    from maya_bridge.projectors import Projector, ProjectorOutput, UnitStates
    from maya_bridge.prompt import PromptConfig
    from maya_bridge.speech_llm import EncodedSpeech, SpeechLLM, make_speech_llm
    from maya_bridge.target_loss import LossParts
    from maya_bridge.text_copy import text_copy_loss
    from maya_bridge.text_side import LLMTokenizer

__version__ = "0.2.0"

__all__ = [
    "Corruption",
    "Cutting",
    "DecodeOptions",
    "EncodedSpeech",
    "LLMConfig",
    "LLMTokenizer",
    "LossParts",
    "Projector",
    "ProjectorOutput",
    "PromptConfig",
    "SpeculativeOptions",
    "SpeechHypothesis",
    "SpeechLLM",
    "UnitStates",
    "load",
    "load_adapters",
    "load_llm",
    "make_speech_llm",
    "save",
    "save_adapters",
    "text_copy_loss",
]

# Configs are composed long before a model is made, so nothing heavy is imported until a name is asked for.
_HOME = {
    "Corruption": "corruption",
    "Cutting": "decoding",
    "DecodeOptions": "decoding",
    "EncodedSpeech": "speech_llm",
    "LLMConfig": "llm",
    "LLMTokenizer": "text_side",
    "LossParts": "target_loss",
    "Projector": "projectors",
    "ProjectorOutput": "projectors",
    "PromptConfig": "prompt",
    "SpeculativeOptions": "decoding",
    "SpeechHypothesis": "hypothesis",
    "SpeechLLM": "speech_llm",
    "UnitStates": "projectors",
    "load": "checkpoint",
    "load_adapters": "adapter_checkpoint",
    "load_llm": "llm",
    "make_speech_llm": "speech_llm",
    "save": "checkpoint",
    "save_adapters": "adapter_checkpoint",
    "text_copy_loss": "text_copy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
