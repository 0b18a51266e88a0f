"""Tokens with frames to words with seconds and confidence."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from maya_encoder.decoding.decoded import DecodedTokens
from maya_encoder.decoding.text_ends import text_and_ends
from maya_encoder.hypothesis import Word

if TYPE_CHECKING:
    from maya_encoder.tokenizer import Tokenizer


class Span(NamedTuple):
    """A word with its place in frames."""

    text: str
    start: float
    end: float
    confidence: float


def words_of(
    decoded: DecodedTokens,
    tokenizer: "Tokenizer",
    lang: str | None,
    seconds_per_frame: float,
    duration: float,
) -> list[Word]:
    """The words of an utterance, in native script and in order; joined by single spaces they are its text.

    A word lasts from the first frame of its first token to the last one of its last token, and is as sure as
    the least sure of its tokens. Words begin one after the other and do not overlap.

    Args:
        decoded: of any decoder.
        tokenizer: the model's.
        lang: language of the utterance; needed where the tokenizer's script is the common one.
        seconds_per_frame: of the encoder's frames.
        duration: seconds of the audio, which no word goes beyond.
    """
    return timed(list(_spans(decoded, tokenizer, lang)), seconds_per_frame, duration)


def timed(spans: Sequence[Span], seconds_per_frame: float, duration: float) -> list[Word]:
    """Words in seconds, from 0 to `duration`; those that begin together share the time up to the next one."""
    starts = _one_after_the_other([span.start for span in spans])
    nexts = [*starts, float("inf")][1:]
    ends = [
        min(span.end if span.end > start else start + 1, following)
        for span, start, following in zip(spans, starts, nexts, strict=True)
    ]
    last = max(ends, default=0.0) * seconds_per_frame
    words = []
    for span, start, end in zip(spans, starts, ends, strict=True):
        begin, finish = (
            _within(frames * seconds_per_frame, last, seconds_per_frame, duration) for frames in (start, end)
        )
        words.append(Word(span.text, begin, finish, span.confidence))
    return words


def _spans(decoded: DecodedTokens, tokenizer: "Tokenizer", lang: str | None) -> Iterator[Span]:
    text, ends = text_and_ends(decoded.tokens, tokenizer, lang)
    first = 0  # token from which on the word's tokens are looked for
    for match in re.finditer(r"\S+", text):
        begin, end = match.span()
        while ends[first] < begin or (
            ends[first] == begin and not _begins(decoded, ends, first, tokenizer, lang)
        ):
            first += 1
        last = first
        while ends[last] < end:
            last += 1
        before = text[_start(ends, first) : begin].strip()
        after = text[end : ends[last]].strip()
        yield Span(
            match[0],
            _inside(decoded, ends, first, begin) if before else decoded.frames[first],
            _inside(decoded, ends, last, end) if after else decoded.end_frames[last],
            min(decoded.confidences[first : last + 1]),
        )


def _start(ends: list[int], token: int) -> int:
    return ends[token - 1] if token else 0


def _begins(
    decoded: DecodedTokens, ends: list[int], token: int, tokenizer: "Tokenizer", lang: str | None
) -> bool:
    """Whether a token wrote nothing yet but will: the first bytes of a letter. A space alone never does."""
    return ends[token] == _start(ends, token) and bool(tokenizer.decode([decoded.tokens[token]], lang))


def _inside(decoded: DecodedTokens, ends: list[int], token: int, place: int) -> float:
    """Where in the time of a token that spans several words the character `place` lies."""
    start = _start(ends, token)
    share = (place - start) / (ends[token] - start)
    return decoded.frames[token] + share * (decoded.end_frames[token] - decoded.frames[token])


def _one_after_the_other(starts: Sequence[float]) -> list[float]:
    """Starts that grow: equal ones are spread over a frame, or up to the next one if that is sooner."""
    found: list[float] = []
    for start in starts:
        found.append(max(start, found[-1]) if found else start)
    borders = [n for n in range(len(found)) if n == 0 or found[n] > found[n - 1]]
    for first, end in pairwise([*borders, len(found)]):
        room = min(1.0, found[end] - found[first]) if end < len(found) else 1.0
        for n in range(first + 1, end):
            found[n] = found[first] + room * (n - first) / (end - first)
    return found


def _within(seconds: float, last: float, seconds_per_frame: float, duration: float) -> float:
    """`seconds`, with the last frame squeezed where the audio ends within a frame and words go on."""
    bend = max(0.0, duration - seconds_per_frame)
    if last <= duration or seconds <= bend:
        return min(seconds, duration)
    return min(bend + (seconds - bend) * (duration - bend) / (last - bend), duration)
