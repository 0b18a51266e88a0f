"""Front end, encoder, prompt and heads as one model: waveforms in, tokens or text out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from maya_encoder.acoustic_config import AcousticModelConfig as AcousticModelConfig
from maya_encoder.acoustic_config import lang_vocab_of, prompt_ids_of, prompt_of
from maya_encoder.audio import Audio
from maya_encoder.fastconformer import EncoderOutput
from maya_encoder.features import LogMel
from maya_encoder.heads import Reduction
from maya_encoder.hypothesis import Hypothesis
from maya_encoder.specaugment import SpecAugment
from maya_encoder.tokenizer import Tokenizer
from maya_encoder.transcribe_options import Options
from maya_encoder.transcription import Request, transcribe

BEST_FIRST = ("tdt", "rnnt", "ctc")
"""Heads in the order in which they are asked for text."""


class AcousticModel(nn.Module):
    """An encoder with its heads, its tokenizer and its languages."""

    prompt_ids: Tensor | None

    def __init__(self, config: AcousticModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        if config.text != tokenizer.text:
            raise ValueError(f"`text` must be the tokenizer's {tokenizer.text!r}, got {config.text!r}")
        self.config = config
        self.import_notes: list[str] = []
        """What was chosen or left out when another program's checkpoint was read."""
        self.tokenizer = tokenizer
        self.langs = tuple(config.langs)
        self.frontend = LogMel(**config.frontend)
        self.specaugment = None if config.specaugment is None else SpecAugment(**config.specaugment)
        self.encoder = config.encoder.build(num_mels=self.frontend.num_mels, langs=self.langs)
        self.prompt = prompt_of(config, self.encoder.hidden_size)
        self.register_buffer("prompt_ids", prompt_ids_of(config), persistent=False)
        size, lang_vocab = self.encoder.hidden_size, lang_vocab_of(config, tokenizer)
        heads = {
            name: head.build(size, tokenizer.vocab_size + 1, lang_vocab)
            for name, head in config.heads.items()
        }
        self.heads = nn.ModuleDict(heads)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def default_head(self) -> str:
        """The head that transcribes when none is asked for: tdt, else rnnt, else ctc, else the first."""
        return next((name for name in BEST_FIRST if name in self.heads), next(iter(self.heads)))

    def encode(
        self, waveforms: Tensor, waveform_lens: Tensor, langs: Sequence[str] | None = None
    ) -> EncoderOutput:
        """Encoder output (B, T, D), after the prompt where there is one, and its lengths (B,).

        Args:
            waveforms: (B, S), floating in [-1, 1] or int16, at the front end's sampling rate.
            waveform_lens: samples of each utterance (B,).
            langs: language of each utterance; without, embedding and prompt are left out.
        """
        features, feature_lens = self.frontend(waveforms, waveform_lens)  # (B, T', F)
        if self.training and self.specaugment is not None:
            features = self.specaugment(features, feature_lens)
        return self.encode_features(features, feature_lens, langs)

    forward = encode

    def encode_features(
        self, features: Tensor, feature_lens: Tensor, langs: Sequence[str] | None = None
    ) -> EncoderOutput:
        """The same from log-mel features (B, T', F) and their lengths (B,)."""
        ids = self.optional_lang_ids(langs)
        features = features.to(next(self.encoder.parameters()).dtype)
        encoder_out, lens = self.encoder(features, feature_lens, ids)
        if self.prompt is not None and self.prompt_ids is not None and ids is not None:
            encoder_out = self.prompt(encoder_out, self.prompt_ids[ids])
        return EncoderOutput(encoder_out, lens)

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
                known = ", ".join(self.langs) or "none"
                raise ValueError(f"this model does not know language {lang!r}; it knows: {known}")
        return torch.tensor([self.langs.index(lang) for lang in langs], device=self.device)

    def optional_lang_ids(self, langs: Sequence[str] | None) -> Tensor | None:
        """The same, or None without languages, or where the model's own are not known."""
        return None if langs is None or not self.langs else self.lang_ids(langs)

    def tokenize(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (B, U), padded with 0, and their lengths (B,)."""
        of_each = [None] * len(texts) if langs is None else langs
        ids = [self.tokenizer.encode(text, lang) for text, lang in zip(texts, of_each, strict=True)]
        lens = [len(row) for row in ids]
        padded = [row + [0] * (max(lens) - len(row)) for row in ids]
        tokens = torch.tensor(padded, dtype=torch.int64, device=self.device)
        return tokens.view(len(ids), max(lens)), torch.tensor(lens, device=self.device)

    def loss(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
        langs: Sequence[str] | None = None,
        ctc_weight: float = 0.3,
        reduction: Reduction = "mean_batch",
    ) -> Tensor:
        """Hybrid loss: the default head's and, with the share `ctc_weight`, that of CTC, as in NeMo.

        Args:
            encoder_out: encoder output (B, T, D), from `encode`.
            encoder_out_lens: valid frames (B,).
            tokens: target ids (B, U), from `tokenize`.
            token_lens: tokens of each utterance (B,).
            langs: language of each utterance, where heads have masks or output layers for languages.
            ctc_weight: from 0 to 1; of no effect where there is one head.
            reduction: see `heads.reduce_loss`.

        Returns:
            (B,) or a scalar, in single precision. CTC's part is 0 where there are more tokens than frames:
            `heads["ctc"].infeasible` tells for which utterances.
        """
        if not 0 <= ctc_weight <= 1:
            raise ValueError(f"`ctc_weight` must be from 0 to 1, got {ctc_weight}")
        targets = (tokens, token_lens, self.optional_lang_ids(langs), reduction)
        parts = []
        for name, weight in self._loss_weights(ctc_weight).items():
            loss: Tensor = self.head(name).loss(encoder_out, encoder_out_lens, *targets)
            parts.append(weight * loss)
        return torch.stack(parts).sum(0)

    def _loss_weights(self, ctc_weight: float) -> dict[str, float]:
        first = self.default_head
        if first == "ctc" or "ctc" not in self.heads:
            return {first: 1.0}
        weights = {first: 1.0 - ctc_weight, "ctc": ctc_weight}
        return {name: weight for name, weight in weights.items() if weight > 0}

    def decode(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        langs: Sequence[str] | None = None,
        head: str | None = None,
    ) -> list[str]:
        """The text that `head` hears in each utterance, in native script, best guess at every step."""
        ids = self.optional_lang_ids(langs)
        tokens = self.head(head).decode(encoder_out, encoder_out_lens, ids)
        of_each = [None] * len(tokens) if langs is None else langs
        return [self.tokenizer.decode(row, lang) for row, lang in zip(tokens, of_each, strict=True)]

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        sampling_rate: int | None = None,
        lang: str | None = None,
        langs: str | Sequence[str] | None = None,
        head: str | None = None,
        batch_size: int = 16,
        **options: Unpack[Options],
    ) -> list[Hypothesis]:
        """One hypothesis for each item of `audio`, in its order, with times and confidence of every word.

        Safe to call from several threads; the model's own mode does not matter and does not change.

        Args:
            audio: one or more files that libsndfile reads, or arrays; see `audio.load_audio`.
            sampling_rate: samples a second of the arrays; None for the front end's.
            lang: language of all utterances; needed only where the model cannot write without.
            langs: language of each utterance, in place of `lang`.
            head: who writes; by default `tdt`, else `rnnt`, else `ctc`.
            batch_size: utterances (or chunks of them) at a time; those of like length go together.
            **options: how to decode and how to cut long audio, see `transcribe_options.Options`.

        Raises:
            BadAudio: an item that is no audio.
            ValueError: a language, head, rate or option that is unknown or missing.
        """
        return transcribe(self, audio, Request(sampling_rate, lang, langs, head, batch_size), options)

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder that `maya_encoder.load` opens; a model that is there is replaced."""
        from maya_encoder.checkpoint import save  # which imports this module

        save(self, folder)
