"""What an acoustic model is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from maya_encoder.heads import HeadConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.language_prompt import LanguagePrompt
from maya_encoder.script import LANGS
from maya_encoder.tokenizer import Tokenizer


@dataclass(kw_only=True)
class AcousticModelConfig:
    """An acoustic model in plain values and plugins."""

    encoder: Any
    """Plugin of the kind `encoders`."""
    heads: dict[str, HeadConfig] = field(default_factory=lambda: {"ctc": CTCConfig()})
    """Plugins of the kind `heads`, by the name the model gives them."""
    langs: Sequence[str] = LANGS
    """Languages the model writes; their order gives their ids. Empty where they are not known."""
    text: str = "asr-v1"
    """Text profile of the training texts."""
    frontend: dict[str, Any] = field(default_factory=dict)
    """Arguments of `LogMel`."""
    specaugment: dict[str, Any] | None = None
    """Arguments of `SpecAugment`; None for no augmentation of features."""
    prompt: dict[str, Any] | None = None
    """Arguments of the `LanguagePrompt` behind the encoder; and `lang_prompts`, the place of each language in
    it, by default its place in `langs`. None for no prompt."""
    multisoftmax: bool = False
    """Let each language write only the pieces of its own tokenizer model."""

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError("`heads` must name one head or more, got none")
        if len(set(self.langs)) != len(self.langs):
            raise ValueError(f"`langs` must be different languages, got {list(self.langs)}")


def lang_vocab_of(config: AcousticModelConfig, tokenizer: Tokenizer) -> dict[str, list[int]] | None:
    """The ids of each language, in the model's order, if any part wants them."""
    by_language = any(getattr(head, "lang_outputs", False) for head in config.heads.values())
    if not (config.multisoftmax or by_language):
        return None
    if len(tokenizer.names) == 1 < len(config.langs):
        raise ValueError("`multisoftmax` needs a tokenizer with one model a language, got one for all")
    return tokenizer.lang_vocab(config.langs)


def prompt_of(config: AcousticModelConfig, hidden_size: int) -> LanguagePrompt | None:
    """The prompt network, if the model has one."""
    if config.prompt is None:
        return None
    return LanguagePrompt(hidden_size, **{k: v for k, v in config.prompt.items() if k != "lang_prompts"})


def prompt_ids_of(config: AcousticModelConfig) -> Tensor | None:
    """The place of each of the model's languages in the prompt (languages,)."""
    if config.prompt is None:
        return None
    places = config.prompt.get("lang_prompts") or {lang: place for place, lang in enumerate(config.langs)}
    num_prompts = config.prompt.get("num_prompts", 128)
    for lang in config.langs:
        if not 0 <= places.get(lang, -1) < num_prompts:
            wanted = f"a place below {num_prompts} for each language"
            raise ValueError(f"`prompt` must have {wanted}, got {places.get(lang, 'none')} for {lang!r}")
    return torch.tensor([places[lang] for lang in config.langs], dtype=torch.int64)
