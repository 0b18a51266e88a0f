"""Long audio in overlapping chunks: where to cut, and one sequence of what was heard in each.

What two chunks heard in their overlap is compared word by word: equal words at about the same time are one
event, and so are words that lie on top of each other. Each event is taken from one chunk only, the earlier
one before the middle of the overlap and the later one behind it, so that no word is lost, doubled or put
together of two halves.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from maya_encoder.decoding.decoded import DecodedTokens, Place

if TYPE_CHECKING:
    from maya_encoder.tokenizer import Tokenizer

TOLERANCE = 5
"""Frames that the middle of a word may differ by between two chunks (0.4 s at 80 ms a frame)."""

_SPACE = "\u2581"  # how SentencePiece marks the piece that begins a word
_SLACK = 2  # frames by which a word of one chunk may lie beside one of the other and still be the same sound


class Chunk(NamedTuple):
    """A part of a recording, in samples."""

    start: int
    """A multiple of the samples of an encoder frame."""
    end: int


def plan_chunks(
    num_samples: int, frame_samples: int, chunk_samples: int, overlap_samples: int
) -> list[Chunk]:
    """Chunks that cover a recording, of about the same length; a single one if it is no longer than a chunk.

    Args:
        num_samples: of the recording.
        frame_samples: of an encoder frame.
        chunk_samples: longest chunk.
        overlap_samples: what neighbours share, or a little more.

    Raises:
        ValueError: an overlap below 0 or above half a chunk, or a chunk too short to move on by a frame.
    """
    if not 0 <= overlap_samples <= chunk_samples // 2:
        raise ValueError(
            f"the overlap of chunks must be 0 to half of {chunk_samples} samples, got {overlap_samples}"
        )
    longest_step = (chunk_samples - overlap_samples) // frame_samples * frame_samples
    if longest_step < 1:
        raise ValueError(
            f"chunks must move on by a frame of {frame_samples} samples or more, "
            f"got chunks of {chunk_samples} that overlap by {overlap_samples}"
        )
    if num_samples <= chunk_samples:
        return [Chunk(0, num_samples)]
    count = math.ceil((num_samples - overlap_samples) / longest_step)
    step = math.ceil((num_samples - overlap_samples) / count / frame_samples) * frame_samples
    starts = range(0, num_samples - overlap_samples, step)
    return [Chunk(start, min(start + step + overlap_samples, num_samples)) for start in starts]


def merge_chunks(
    chunks: Sequence[Chunk],
    decoded: Sequence[DecodedTokens],
    frame_samples: int,
    tokenizer: "Tokenizer | None" = None,
    lang: str | None = None,
) -> DecodedTokens:
    """One sequence, in frames of the whole recording, of what any head heard in each chunk.

    Args:
        chunks: in order, each overlapping its neighbour or touching it.
        decoded: of each chunk, with frames that count from its start.
        frame_samples: samples of an encoder frame.
        tokenizer: tells words; without it, each token is a word.
        lang: language, where the tokenizer needs one.

    Returns:
        Of one chunk, `decoded` itself. Of several, the score is the sum of the tokens' log-probabilities.
    """
    if len(decoded) == 1:
        return decoded[0]
    merged: list[Unit] = []
    heard_to = 0
    for chunk, one in zip(chunks, decoded, strict=True):
        first = chunk.start // frame_samples
        units = _units(one, first, tokenizer, lang)
        merged = _joined(merged, units, first, heard_to)
        heard_to = math.ceil(chunk.end / frame_samples)
    places: list[Place] = []
    for token, frame, end, log_prob in (place for unit in merged for place in unit.places):
        start = max(frame, places[-1][1] if places else 0)
        places.append((token, start, max(end, start + 1), log_prob))
    return DecodedTokens.of(places, sum(log_prob for *_, log_prob in places))


@dataclass(frozen=True)
class Unit:
    """A word, or a token by itself, that one chunk heard."""

    text: str
    places: tuple[Place, ...]

    @property
    def start(self) -> int:
        """First frame."""
        return self.places[0][1]

    @property
    def end(self) -> int:
        """The frame after the last."""
        return self.places[-1][2]

    @property
    def middle(self) -> float:
        """Between the two."""
        return (self.start + self.end) / 2


@dataclass
class _Event:
    """What one or both chunks heard at a time."""

    left: list[Unit]
    right: list[Unit]

    @property
    def middle(self) -> float:
        units = self.left + self.right
        return sum(unit.middle for unit in units) / len(units)


def _units(decoded: DecodedTokens, first: int, tokenizer: "Tokenizer | None", lang: str | None) -> list[Unit]:
    columns = (decoded.tokens, decoded.frames, decoded.end_frames, decoded.log_probs)
    groups: list[list[Place]] = []
    for token, frame, end, log_prob in zip(*columns, strict=True):
        begins = tokenizer is None or tokenizer.piece(token).startswith(_SPACE)
        if begins or not groups:
            groups.append([])
        groups[-1].append((token, frame + first, end + first, log_prob))
    return [Unit(_text([token for token, *_ in group], tokenizer, lang), tuple(group)) for group in groups]


def _text(tokens: list[int], tokenizer: "Tokenizer | None", lang: str | None) -> str:
    return str(tokens) if tokenizer is None else tokenizer.decode(tokens, lang)


def _joined(left: list[Unit], right: list[Unit], start: int, end: int) -> list[Unit]:
    """Two neighbours' units as one sequence; the overlap is frames `start` to `end`."""
    before = next((n for n, unit in enumerate(left) if unit.end > start), len(left))
    after = next((n for n, unit in enumerate(right) if unit.start >= end), len(right))
    events = list(_events(left[before:], right[:after]))
    cut = next((n for n, event in enumerate(events) if event.middle >= (start + end) / 2), len(events))
    kept = [unit for event in events[:cut] for unit in event.left]
    kept += [unit for event in events[cut:] for unit in event.right]
    return left[:before] + kept + right[after:]


def _events(left: list[Unit], right: list[Unit]) -> Iterator[_Event]:
    """Everything both chunks heard, in order; equal words first, then what lies between them."""
    i = j = 0
    for pair in [*_equal(left, right), (len(left), len(right))]:
        yield from _on_top(left[i : pair[0]], right[j : pair[1]])
        i, j = pair[0] + 1, pair[1] + 1
        if pair[0] < len(left):
            yield _Event([left[pair[0]]], [right[pair[1]]])


def _equal(left: list[Unit], right: list[Unit]) -> list[tuple[int, int]]:
    """Pairs of equal words at about the same time: as many as possible, then as close as possible."""
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            paired = best[i + 1][j + 1] + _likeness(left[i], right[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired)
    pairs, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def _likeness(left: Unit, right: Unit) -> float:
    distance = abs(left.middle - right.middle)
    if left.text != right.text or distance > TOLERANCE:
        return 0.0
    return 3 - distance / (TOLERANCE + 1)  # two pairs far apart outweigh one that fits


def _on_top(left: list[Unit], right: list[Unit]) -> Iterator[_Event]:
    """Events of words that differ: those of two chunks that lie on top of each other are one."""
    tagged = [(unit, 0) for unit in left] + [(unit, 1) for unit in right]
    event = _Event([], [])
    for unit, side in sorted(tagged, key=lambda item: (item[0].start, item[0].end)):
        others = event.left if side else event.right
        if event.left + event.right and not any(_covers(unit, other) for other in others):
            yield event
            event = _Event([], [])
        (event.right if side else event.left).append(unit)
    if event.left + event.right:
        yield event


def _covers(first: Unit, second: Unit) -> bool:
    """Whether the middle of the shorter one is in the longer one, or nearly so."""
    shorter, longer = sorted((first, second), key=lambda unit: unit.end - unit.start)
    return longer.start - _SLACK < shorter.middle < longer.end + _SLACK
