"""Front end, encoder and heads as one model: waveforms in, tokens or text out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maya_encoder.audio import Audio, load_audio, pad_waveforms
from maya_encoder.features import LogMel
from maya_encoder.heads import HeadConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.hypothesis import Hypothesis
from maya_encoder.script import LANGS
from maya_encoder.specaugment import SpecAugment
from maya_encoder.tokenizer import Tokenizer


@dataclass(kw_only=True)
class AcousticModelConfig:
    """What an acoustic model is made of."""

    encoder: Any
    """Plugin of the kind `encoders`."""
    heads: dict[str, HeadConfig] = field(default_factory=lambda: {"ctc": CTCConfig()})
    """Plugins of the kind `heads`, by the name the model gives them."""
    langs: Sequence[str] = LANGS
    """Languages the model writes; their order gives their ids."""
    text: str = "asr-v1"
    """Text profile of the training texts."""
    frontend: dict[str, Any] = field(default_factory=dict)
    """Arguments of `LogMel`."""
    specaugment: dict[str, Any] | None = None
    """Arguments of `SpecAugment`; None for no augmentation of features."""

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError("`heads` must name one head or more, got none")
        if len(set(self.langs)) != len(self.langs) or not self.langs:
            raise ValueError(f"`langs` must be different languages, one or more, got {list(self.langs)}")


class AcousticModel(nn.Module):
    """An encoder with its heads, its tokenizer and its languages."""

    def __init__(self, config: AcousticModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        if config.text != tokenizer.text:
            raise ValueError(f"`text` must be the tokenizer's {tokenizer.text!r}, got {config.text!r}")
        self.config = config
        self.tokenizer = tokenizer
        self.langs = tuple(config.langs)
        self.frontend = LogMel(**config.frontend)
        self.specaugment = None if config.specaugment is None else SpecAugment(**config.specaugment)
        self.encoder = config.encoder.build(num_mels=self.frontend.num_mels, langs=self.langs)
        sizes = {"in_dim": self.encoder.hidden_size, "vocab_size": tokenizer.vocab_size + 1}
        self.heads = nn.ModuleDict({name: head.build(**sizes) for name, head in config.heads.items()})

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def default_head(self) -> str:
        """The head that transcribes when none is asked for: the transducer, or else the first."""
        return "rnnt" if "rnnt" in self.heads else next(iter(self.heads))

    def encode(self, waveforms: Tensor, waveform_lens: Tensor, langs: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Encoder output (B, T, D) and its lengths (B,).

        Args:
            waveforms: (B, S), floating in [-1, 1] or int16, at the front end's sampling rate.
            waveform_lens: samples of each utterance (B,).
            langs: language of each utterance.
        """
        features, feature_lens = self.frontend(waveforms, waveform_lens)  # (B, T', F)
        if self.training and self.specaugment is not None:
            features = self.specaugment(features, feature_lens)
        found: tuple[Tensor, Tensor] = self.encoder(features, feature_lens, self.lang_ids(langs))
        return found

    forward = encode

    def head(self, name: str | None = None) -> Any:
        """The head with that name, or the default one."""
        name = self.default_head if name is None else name
        if name not in self.heads:
            raise ValueError(f"this model has no head named {name!r}; it has: {', '.join(self.heads)}")
        return self.heads[name]

    def lang_ids(self, langs: Sequence[str]) -> Tensor:
        """Place of each language in the model's list (B,)."""
        for lang in langs:
            if lang not in self.langs:
                raise ValueError(
                    f"this model does not know language {lang!r}; it knows: {', '.join(self.langs)}"
                )
        return torch.tensor([self.langs.index(lang) for lang in langs], device=self.device)

    def tokenize(self, texts: Sequence[str], langs: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens (B, U), padded with 0, and their lengths (B,)."""
        ids = [self.tokenizer.encode(text, lang) for text, lang in zip(texts, langs, strict=True)]
        lens = [len(row) for row in ids]
        padded = [row + [0] * (max(lens) - len(row)) for row in ids]
        tokens = torch.tensor(padded, dtype=torch.int64, device=self.device)
        return tokens.view(len(ids), max(lens)), torch.tensor(lens, device=self.device)

    def decode(
        self, encoder_out: Tensor, encoder_out_lens: Tensor, langs: Sequence[str], head: str | None = None
    ) -> list[str]:
        """The text that `head` hears in each utterance, in native script."""
        ids = self.head(head).decode(encoder_out, encoder_out_lens, self.lang_ids(langs))
        return [self.tokenizer.decode(row, lang) for row, lang in zip(ids, langs, strict=True)]

    @torch.inference_mode()
    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        langs: str | Sequence[str],
        batch_size: int = 16,
        head: str | None = None,
    ) -> list[Hypothesis]:
        """One hypothesis for each item of `audio`, in its order.

        Args:
            audio: one or more files, or mono arrays at the front end's sampling rate.
            langs: the language of all, or of each.
            batch_size: utterances at a time; those of like length go together.
            head: who writes; by default the transducer where there is one.
        """
        audio = [audio] if isinstance(audio, Audio) else audio
        langs = [langs] * len(audio) if isinstance(langs, str) else list(langs)
        if len(langs) != len(audio):
            raise ValueError(
                f"`langs` must be one language or one for each of {len(audio)}, got {len(langs)}"
            )
        self.lang_ids(langs)
        self.head(head)
        waveforms = [load_audio(item, self.frontend.sampling_rate) for item in audio]
        with evaluating(self):
            return self._transcribe(waveforms, langs, batch_size, head)

    def _transcribe(
        self, waveforms: list[np.ndarray[Any, Any]], langs: list[str], batch_size: int, head: str | None
    ) -> list[Hypothesis]:
        order = sorted(range(len(waveforms)), key=lambda i: len(waveforms[i]))
        found: dict[int, Hypothesis] = {}
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch, lens = pad_waveforms([waveforms[i] for i in chosen])
            batch_langs = [langs[i] for i in chosen]
            encoded = self.encode(batch.to(self.device), lens.to(self.device), batch_langs)
            for i, text in zip(chosen, self.decode(*encoded, batch_langs, head), strict=True):
                seconds = len(waveforms[i]) / self.frontend.sampling_rate
                found[i] = Hypothesis(text, langs[i], head or self.default_head, seconds)
        return [found[i] for i in range(len(waveforms))]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a block; every module then gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
