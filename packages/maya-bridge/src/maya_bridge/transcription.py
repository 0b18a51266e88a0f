"""Audio to hypotheses with an LLM: long audio in pieces, batches of like length, languages if not given."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from maya_bridge.decoding import Heard
from maya_bridge.decoding.long_audio import Cutting, cut_points
from maya_bridge.decoding.options import DecodeOptions
from maya_bridge.decoding.result import Decoded
from maya_bridge.hypothesis import SpeechHypothesis
from maya_bridge.writing import AUTO, check_names_languages, ctc_evidence, name_languages, write
from maya_encoder.audio import Audio, Waveform, audio_duration, load_audio, pad_waveforms
from maya_encoder.hypothesis import Hypothesis, Word
from maya_encoder.modes import evaluating
from maya_encoder.script import LANGS as KNOWN

if TYPE_CHECKING:
    from maya_bridge.speech_llm import EncodedSpeech, SpeechLLM

STRATEGIES = ("greedy", "beam", "speculative")
HEADS = ("ctc", "rnnt", "tdt")
DECODES = STRATEGIES + HEADS


SILENT = 2e-4
"""Largest distance between two samples of what is silence by itself: some -80 dB below full scale."""


@dataclass(frozen=True)
class Request:
    """The plain arguments of `SpeechLLM.transcribe`."""

    langs: str | Sequence[str]
    batch_size: int = 16
    decode: str | None = None
    options: DecodeOptions | None = None
    cutting: Cutting | None = None


def check_decode(decode: str) -> None:
    """Refuse what is no way of decoding."""
    if decode not in DECODES:
        raise ValueError(f"`decode` must be one of {', '.join(DECODES)}, got {decode}")


@torch.inference_mode()
def transcribe(
    model: "SpeechLLM", audio: Audio | Sequence[Audio], request: Request
) -> list[SpeechHypothesis] | list[Hypothesis]:
    """Return one hypothesis for each item of `audio`, in its order; see `SpeechLLM.transcribe`."""
    if request.decode is not None:
        check_decode(request.decode)
    if request.batch_size < 1:
        raise ValueError(f"`batch_size` must be 1 or more, got {request.batch_size}")
    items = [audio] if isinstance(audio, Audio) else list(audio)
    langs = [request.langs] * len(items) if isinstance(request.langs, str) else list(request.langs)
    if len(langs) != len(items):
        raise ValueError(f"`langs` must be one or one for each of {len(items)}, got {len(langs)}")
    if request.decode in HEADS:
        _refuse_unread(request)
        return model.acoustic.transcribe(
            items, langs=langs, batch_size=request.batch_size, head=request.decode
        )
    _check_langs(model, {*langs, *([request.langs] if isinstance(request.langs, str) else ())})
    job = _Job(model, _options(request), request.batch_size, request.cutting)
    rate = model.acoustic.frontend.sampling_rate
    durations = [audio_duration(item, rate) for item in items]
    order = sorted(range(len(items)), key=durations.__getitem__)
    found: dict[int, SpeechHypothesis] = {}
    with evaluating(model):
        for rows in _parts(order, request.batch_size):
            waveforms = [load_audio(items[row], rate) for row in rows]
            found |= zip(rows, job.hypotheses(waveforms, [langs[row] for row in rows]), strict=True)
    return [found[row] for row in range(len(items))]


def _refuse_unread(request: Request) -> None:
    """A head reads nothing of what is said of the LLM's text."""
    for key in ("options", "cutting"):
        if getattr(request, key) is not None:
            raise ValueError(
                f"`{key}` is about the LLM's text, and `decode` is {request.decode}; leave it out"
            )


def _options(request: Request) -> DecodeOptions:
    options = request.options or DecodeOptions()
    return options if request.decode is None else replace(options, strategy=request.decode)  # type: ignore[arg-type]


def _check_langs(model: "SpeechLLM", langs: set[str]) -> None:
    named = sorted(langs - {AUTO})
    if model.acoustic.langs:
        model.acoustic.lang_ids(named)
    if unknown := [lang for lang in named if lang not in KNOWN]:
        raise ValueError(f"`langs` must be of {' '.join(KNOWN)}, or auto, got {unknown[0]}")
    if AUTO in langs:
        check_names_languages(model)


@dataclass(frozen=True)
class _Piece:
    """A part of an utterance: its number, samples and place."""

    row: int
    waveform: Waveform
    start: float
    seconds: float


@dataclass(frozen=True)
class _Job:
    """A model in evaluation mode with its orders."""

    model: "SpeechLLM"
    options: DecodeOptions
    batch_size: int
    cutting: Cutting | None

    @property
    def _rate(self) -> int:
        return int(self.model.acoustic.frontend.sampling_rate)

    def hypotheses(self, waveforms: list[Waveform], langs: list[str]) -> list[SpeechHypothesis]:
        pieces = [piece for row, waveform in enumerate(waveforms) for piece in self._cut(row, waveform)]
        langs = self._languages(pieces, langs)
        written = self._written(pieces, langs)
        found = []
        for row, waveform in enumerate(waveforms):
            own = [(piece, written[n]) for n, piece in enumerate(pieces) if piece.row == row]
            found.append(joined(own, langs[row], len(waveform) / self._rate))
        return found

    def _cut(self, row: int, waveform: Waveform) -> list[_Piece]:
        cutting = self.cutting or Cutting()
        ends = [(0, len(waveform))]
        if len(waveform) > cutting.cap * self._rate:
            blanks = self._blanks(waveform, round(cutting.cap * self._rate))
            ends = cut_points(waveform, self._rate, cutting, blanks)
        return [
            _Piece(row, waveform[start:end], start / self._rate, (end - start) / self._rate)
            for start, end in ends
        ]

    def _blanks(self, waveform: Waveform, size: int) -> Waveform | None:
        """Probability of the CTC blank in a long recording's frames, heard in parts of `size` samples."""
        if "ctc" not in self.model.acoustic.heads:
            return None
        found = []
        for start in range(0, len(waveform), size):
            part = waveform[start : start + size]
            if len(part) < self.model.acoustic.frontend.hop:
                continue
            frames, lens = self._encode([part], None)
            log_probs = self.model.acoustic.head("ctc")(frames)
            found.append(log_probs[0, : int(lens[0]), -1].exp().float().cpu().numpy())
        return np.concatenate(found)

    def _encode(
        self, waveforms: list[Waveform], langs: list[str] | None
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        padded, lens = pad_waveforms(waveforms)
        out = self.model.acoustic.encode(padded.to(self.model.device), lens.to(self.model.device), langs)
        return out[0], out[1]

    def _languages(self, pieces: list[_Piece], langs: list[str]) -> list[str]:
        """The given languages, and for `auto` that which the LLM is surest of over all pieces."""
        asked = [n for n, piece in enumerate(pieces) if langs[piece.row] == AUTO and self._is_heard(piece)]
        votes = [Counter[str]() for _ in langs]
        for chosen in _parts(asked, self.batch_size):
            speech = self._speech([pieces[n] for n in chosen], None)
            for n, (lang, probability) in zip(chosen, name_languages(self.model, speech), strict=True):
                votes[pieces[n].row][lang] += probability * pieces[n].seconds  # type: ignore[assignment]
        first = self.model.acoustic.langs or KNOWN
        return [
            (vote.most_common(1)[0][0] if vote else first[0]) if lang == AUTO else lang
            for lang, vote in zip(langs, votes, strict=True)
        ]

    def _is_heard(self, piece: _Piece) -> bool:
        """Whether a piece is as long as one frame of features, and more than digital silence."""
        if len(piece.waveform) < self.model.acoustic.frontend.hop:
            return False
        return not self.options.silence or float(np.ptp(piece.waveform)) > SILENT

    def _speech(self, pieces: list[_Piece], langs: list[str] | None) -> "EncodedSpeech":
        padded, lens = pad_waveforms([piece.waveform for piece in pieces])
        device = self.model.device
        known = langs if self.model.acoustic.langs else None
        return self.model.encode_speech(padded.to(device), lens.to(device), known)

    def _written(self, pieces: list[_Piece], langs: list[str]) -> list[Decoded]:
        found = [Decoded([], "", fallback="silence") for _ in pieces]
        heard = [n for n, piece in enumerate(pieces) if self._is_heard(piece)]
        for chosen in _parts(sorted(heard, key=lambda n: pieces[n].seconds), self.batch_size):
            batch = [pieces[n] for n in chosen]
            of_each = [langs[piece.row] for piece in batch]
            speech = self._speech(batch, of_each)
            evidence = ctc_evidence(self.model, speech, of_each)
            known = Heard(of_each, [piece.seconds for piece in batch], evidence)
            for n, one in zip(chosen, write(self.model, speech, known, self.options), strict=True):
                found[n] = one
        return found


def joined(parts: Sequence[tuple[_Piece, Decoded]], lang: str, duration: float) -> SpeechHypothesis:
    """Return the texts of an utterance's pieces as one."""
    found = [one for _, one in parts]
    by_llm = [one for one in found if one.fallback is None]
    reasons = [one.fallback for one in found if one.fallback not in (None, "silence")]
    if not by_llm and not reasons:
        reasons = ["silence"]
    words = [
        Word(word.text, word.start + piece.start, min(word.end + piece.start, duration), word.confidence)
        for piece, one in parts
        for word in one.words
    ]
    return SpeechHypothesis(
        text=" ".join(one.text for one in found if one.text),
        lang=lang,
        head="llm" if by_llm else "ctc",
        duration=duration,
        tokens=[token for one in found for token in one.ids],
        score=sum(one.score for one in found),
        words=words,
        fallback=next(iter(reasons), None),
        doubt=next((one.doubt for one in found if one.doubt), None),
        passes=sum(one.passes for one in found),
        nbest=found[0].nbest if len(found) == 1 else [],
    )


def _parts(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
