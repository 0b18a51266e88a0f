"""Where the words of a final text are in the audio, and how sure the CTC head is of each."""

from collections.abc import Sequence
from itertools import chain

import torch

from maya_bridge.decoding.evidence import CTCEvidence
from maya_encoder.decoding.decoded import DecodedTokens
from maya_encoder.decoding.viterbi import DoesNotFit, ctc_viterbi
from maya_encoder.decoding.words import Span, timed
from maya_encoder.hypothesis import Word


@torch.no_grad()
def word_times(evidence: CTCEvidence, row: int, text: str, duration: float) -> list[Word]:
    """Return the words of a text, each with its place on the best CTC path.

    A word is as sure as the least sure of its tokens. One of which the acoustic tokenizer knows no character
    has confidence 0 and lies between its neighbours. A text with more tokens than there are frames is
    spread evenly over the audio with confidence 0.

    Args:
        evidence: of the batch.
        row: utterance.
        text: in native script, split at white space.
        duration: seconds of the audio.
    """
    words, frames = text.split(), int(evidence.lens[row])
    if not words or not frames:
        return []
    lang = evidence.langs[row]
    tokens = [evidence.encode(word, lang) for word in words]
    log_probs = evidence.log_probs[row : row + 1, :frames]
    try:
        (placed,) = ctc_viterbi(log_probs, evidence.lens[row : row + 1], [list(chain(*tokens))])
    except DoesNotFit:
        return _evenly(words, duration)
    return timed(_spans(words, _spoken(evidence, tokens, lang), placed), duration / frames, duration)


def _spoken(evidence: CTCEvidence, tokens: Sequence[Sequence[int]], lang: str) -> list[list[int]]:
    """Places of each word's tokens among all, without a token that is only the space before the word."""
    parts, first = [], 0
    for own in tokens:
        parts.append([first + n for n, token in enumerate(own) if evidence.tokenizer.decode([token], lang)])
        first += len(own)
    return parts


def _spans(words: Sequence[str], parts: Sequence[Sequence[int]], placed: DecodedTokens) -> list[Span]:
    spans, end = [], 0
    for word, part in zip(words, parts, strict=True):
        start = placed.frames[part[0]] if part else end
        end = placed.end_frames[part[-1]] if part else end
        spans.append(Span(word, start, end, min((placed.confidences[n] for n in part), default=0.0)))
    return spans


def _evenly(words: Sequence[str], duration: float) -> list[Word]:
    share = duration / len(words)
    return [Word(word, n * share, (n + 1) * share, 0.0) for n, word in enumerate(words)]
