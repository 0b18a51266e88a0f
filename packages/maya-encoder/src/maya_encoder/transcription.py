"""Audio to hypotheses: batches of like length, long audio in chunks, every word with its time."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from maya_encoder.audio import Audio, Waveform, audio_duration, load_audio, pad_waveforms
from maya_encoder.decoding import Chunk, DecodedTokens, decode, merge_chunks, plan_chunks, words_of
from maya_encoder.hypothesis import Hypothesis
from maya_encoder.modes import evaluation_view, in_evaluation
from maya_encoder.transcribe_options import Options, Settings, settings_of

if TYPE_CHECKING:
    from maya_encoder.acoustic_model import AcousticModel


class Request(NamedTuple):
    """The plain arguments of `AcousticModel.transcribe`."""

    sampling_rate: int | None = None
    lang: str | None = None
    langs: str | Sequence[str] | None = None
    head: str | None = None
    batch_size: int = 16


@torch.inference_mode()
def transcribe(
    model: "AcousticModel", audio: Audio | Sequence[Audio], request: Request, options: Options
) -> list[Hypothesis]:
    """One hypothesis for each item of `audio`, in its order; see `AcousticModel.transcribe`."""
    items = [audio] if isinstance(audio, Audio) else list(audio)
    if request.batch_size < 1:
        raise ValueError(f"`batch_size` must be 1 or more, got {request.batch_size}")
    head = model.head(request.head)
    langs = _langs(model, len(items), request, head)
    settings = settings_of(options, model.tokenizer, None if langs is None else [*langs, *_named(request)])
    job = _Job(_view(model, settings), request.head or model.default_head, settings, request.batch_size)
    rate = model.frontend.sampling_rate if request.sampling_rate is None else request.sampling_rate
    durations = [audio_duration(item, rate) for item in items]
    order = sorted(range(len(items)), key=durations.__getitem__)
    found: dict[int, Hypothesis] = {}
    for chosen in _parts(order, request.batch_size):
        waveforms = [load_audio(items[i], model.frontend.sampling_rate, rate) for i in chosen]
        batch_langs = None if langs is None else [langs[i] for i in chosen]
        found |= zip(chosen, job.hypotheses(waveforms, batch_langs), strict=True)
    return [found[i] for i in range(len(items))]


@dataclass(frozen=True)
class _Job:
    """A model in evaluation mode with its orders."""

    model: "AcousticModel"
    head: str
    settings: Settings
    batch_size: int

    def hypotheses(self, waveforms: list[Waveform], langs: list[str] | None) -> list[Hypothesis]:
        plans = [self._plan(len(waveform)) for waveform in waveforms]
        rows = [row for row, plan in enumerate(plans) for _ in plan]
        pieces = [waveforms[row][chunk.start : chunk.end] for row, plan in enumerate(plans) for chunk in plan]
        heard = iter(self._hear(pieces, None if langs is None else [langs[row] for row in rows]))
        found = []
        for row, plan in enumerate(plans):
            lang = None if langs is None else langs[row]
            parts = [next(heard) for _ in plan]
            whole = merge_chunks(plan, parts, self._frame_samples, self.model.tokenizer, lang)
            found.append(self._hypothesis(whole, lang, len(waveforms[row])))
        return found

    def _hypothesis(self, decoded: DecodedTokens, lang: str | None, num_samples: int) -> Hypothesis:
        tokenizer, rate = self.model.tokenizer, self.model.frontend.sampling_rate
        duration = num_samples / rate
        text = " ".join(tokenizer.decode(decoded.tokens, lang).split())  # so that the words join to it
        words = []
        if len(decoded.frames) == len(decoded.tokens):  # a head of others may tell no frames
            words = words_of(decoded, tokenizer, lang, self._frame_samples / rate, duration)
        return Hypothesis(text, lang, self.head, duration, decoded.tokens, decoded.score, words)

    @property
    def _frame_samples(self) -> int:
        return int(self.model.frontend.hop * self.model.encoder.subsampling_factor)

    def _plan(self, num_samples: int) -> list[Chunk]:
        if self.settings.chunk_duration is None:
            return [Chunk(0, num_samples)]
        rate = self.model.frontend.sampling_rate
        chunk, overlap = (round(s * rate) for s in (self.settings.chunk_duration, self.settings.overlap))
        return plan_chunks(num_samples, self._frame_samples, chunk, overlap)

    def _hear(self, pieces: list[Waveform], langs: list[str] | None) -> list[DecodedTokens]:
        """The tokens of each piece; none where it is shorter than one frame of features."""
        found = [DecodedTokens() for _ in pieces]
        heard = [n for n, piece in enumerate(pieces) if len(piece) >= self.model.frontend.hop]
        for chosen in _parts(sorted(heard, key=lambda n: len(pieces[n])), self.batch_size):
            batch_langs = None if langs is None else [langs[n] for n in chosen]
            for n, tokens in zip(chosen, self._decode([pieces[n] for n in chosen], batch_langs), strict=True):
                found[n] = tokens
        return found

    def _decode(self, pieces: list[Waveform], langs: list[str] | None) -> list[DecodedTokens]:
        model, head = self.model, self.model.head(self.head)
        waveforms, lens = (tensor.to(model.device) for tensor in pad_waveforms(pieces))
        encoder_out, encoder_out_lens = model.encode(waveforms, lens, langs)
        lang_ids = model.optional_lang_ids(langs)
        if _is_known(head):
            return decode(head, encoder_out, encoder_out_lens, lang_ids, self.settings.decoding)
        return [DecodedTokens(row) for row in head.decode(encoder_out, encoder_out_lens, lang_ids)]


def _langs(model: "AcousticModel", count: int, request: Request, head: nn.Module) -> list[str] | None:
    """The language of each utterance, or None where none was given and none is needed."""
    lang, langs = request.lang, request.langs
    if lang is not None and langs is not None:
        raise ValueError(f"`lang` or `langs` must be given, got both: {lang!r} and {langs!r}")
    if isinstance(langs, str):
        lang, langs = langs, None
    if lang is None and langs is None and len(model.langs) == 1:
        lang = model.langs[0]
    if lang is not None:
        _check_lang(model, [lang])
        return [lang] * count
    if langs is None:
        if model.tokenizer.script == "common" or getattr(head, "lang_outputs", False):
            known = ", ".join(model.langs)
            raise ValueError(f"`lang` must be given: this model writes by language, one of {known}")
        return None
    if len(langs) != count:
        raise ValueError(f"`langs` must be one language or one for each of {count}, got {len(langs)}")
    _check_lang(model, langs)
    return list(langs)


def _check_lang(model: "AcousticModel", langs: Sequence[str]) -> None:
    if model.langs:
        model.lang_ids(langs)


def _named(request: Request) -> list[str]:
    """The language that was named once for all, so that it is known where there is no audio."""
    one = request.langs if isinstance(request.langs, str) else request.lang
    return [] if one is None else [one]


def _view(model: "AcousticModel", settings: Settings) -> "AcousticModel":
    if settings.attention_context is None:
        return in_evaluation(model)
    view = evaluation_view(model)
    if not hasattr(view.encoder, "set_attention"):
        raise ValueError(
            "`attention_context` needs an encoder with `set_attention`, and this model's has none"
        )
    view.encoder.config = copy(view.encoder.config)  # which it changes
    view.encoder.set_attention("rel_pos_local_attn", settings.attention_context)
    return view


def _is_known(head: Any) -> bool:
    """Whether `decode` can read the head: a transducer, or one that gives log-probabilities of frames."""
    return hasattr(head, "joint") or type(head).forward is not nn.Module.forward


def _parts(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
