"""Forced alignment: where in the audio each word of a given text is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from maya_encoder.audio import Audio, load_audio, pad_waveforms
from maya_encoder.decoding.decoded import DecodedTokens
from maya_encoder.decoding.viterbi import ctc_viterbi
from maya_encoder.decoding.words import Span, timed
from maya_encoder.hypothesis import Word
from maya_encoder.modes import in_evaluation

if TYPE_CHECKING:
    from maya_encoder.acoustic_model import AcousticModel
    from maya_encoder.tokenizer import Tokenizer

_UNKNOWN = "<unk>"


@torch.inference_mode()
def align(model: "AcousticModel", audio: Audio, text: str, lang: str | None = None) -> list[Word]:
    """The words of `text`, each with its place in `audio`, by the best path through the CTC head.

    A word's confidence is the probability of its least sure token; that of a word none of whose characters
    the tokenizer knows is 0, and its place is between its neighbours.

    Args:
        model: has a head named `ctc`.
        audio: a file that libsndfile reads, or samples at the front end's rate.
        text: what was said, written as the model writes; split at white space. An empty text gives no words.
        lang: language of both; needed only where the model cannot do without.

    Raises:
        DoesNotFit: the text has more tokens than the audio has frames; the message has both numbers.
        BadAudio: no such file, or no audio.
        ValueError: no CTC head, or a language that the model does not know.
    """
    if "ctc" not in model.heads:
        raise ValueError(f"alignment needs a head named ctc; this model has: {', '.join(model.heads)}")
    model = in_evaluation(model)
    waveform = load_audio(audio, model.frontend.sampling_rate)
    if not (words := text.split()):
        return []
    if lang is None and len(model.langs) == 1:
        lang = model.langs[0]
    tokens = [_known(model.tokenizer, word, lang) for word in words]
    langs = None if lang is None else [lang]
    batch, lens = pad_waveforms([waveform])
    encoder_out, encoder_out_lens = model.encode(batch.to(model.device), lens.to(model.device), langs)
    lang_ids = model.lang_ids(langs) if langs and model.langs else None
    log_probs = model.heads["ctc"](encoder_out, lang_ids)
    (placed,) = ctc_viterbi(log_probs, encoder_out_lens, [[token for word in tokens for token in word]])
    seconds_per_frame = model.frontend.hop * model.encoder.subsampling_factor / model.frontend.sampling_rate
    spans = _spans(words, _parts(model.tokenizer, tokens, lang), placed)
    return timed(spans, seconds_per_frame, len(waveform) / model.frontend.sampling_rate)


def _known(tokenizer: "Tokenizer", word: str, lang: str | None) -> list[int]:
    return [token for token in tokenizer.encode(word, lang) if tokenizer.piece(token) != _UNKNOWN]


def _spans(words: Sequence[str], parts: Sequence[Sequence[int]], placed: DecodedTokens) -> list[Span]:
    """Each word, over the places `parts` of its tokens."""
    spans, end = [], 0
    for word, part in zip(words, parts, strict=True):
        start = placed.frames[part[0]] if part else end
        end = placed.end_frames[part[-1]] if part else end
        spans.append(Span(word, start, end, min((placed.confidences[n] for n in part), default=0.0)))
    return spans


def _parts(tokenizer: "Tokenizer", tokens: Sequence[Sequence[int]], lang: str | None) -> list[list[int]]:
    """Places of each word's tokens among all, without a token that is only the space before the word."""
    parts, first = [], 0
    for own in tokens:
        spoken = [first + n for n, token in enumerate(own) if tokenizer.decode([token], lang)]
        parts.append(spoken)
        first += len(own)
    return parts
