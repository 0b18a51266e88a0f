"""The text of the open segment, and how much of it was told."""

from collections.abc import Sequence
from dataclasses import replace

from maya_bridge.streaming.agreement import StablePrefix
from maya_bridge.streaming.events import Delta
from maya_encoder.hypothesis import Hypothesis, Word


class SegmentText:
    """What hypotheses made of one segment.

    Args:
        number: of the segment in its stream.
        agreement: hypotheses that make a word stable.
    """

    def __init__(self, number: int, agreement: int) -> None:
        self.number = number
        self.words: list[Word] = []
        self._stable = StablePrefix(agreement)
        self._told = ("", "")

    @property
    def num_stable(self) -> int:
        """How many of the words are stable."""
        return len(self._stable.words)

    def hear(self, words: Sequence[Word]) -> None:
        """Take the words of a hypothesis, behind those that are stable."""
        self.words = self._stable.joined(words)

    def settle(self, seconds: float) -> None:
        """Make stable what hypotheses agree on and what ends before this second of the segment."""
        self._stable.update(self.words, seconds)

    def end_after(self, num_words: int) -> None:
        """Make so many words stable, and the others those of another segment."""
        self.words = self._stable.words = self.words[:num_words]

    def delta(self, start: float, end: float) -> Delta | None:
        """Return what is new since the last time, from and up to these seconds of the stream."""
        stable = joined(self.words[: self.num_stable])
        text = joined(self.words)
        if (before := self._told) == (stable, text):
            return None
        self._told = stable, text
        return Delta(
            self.number, stable[len(before[0]) :], stable, text[len(stable) :], round(start, 3), round(end, 3)
        )


def joined(words: Sequence[Word]) -> str:
    """Return words as text."""
    return " ".join(word.text for word in words)


def words_of(hypothesis: Hypothesis) -> list[Word]:
    """Return the words of a hypothesis; where their times are not known, all last equally long."""
    texts = hypothesis.text.split()
    if hypothesis.words or not texts:
        return hypothesis.words
    each = hypothesis.duration / len(texts)
    return [Word(text, n * each, (n + 1) * each, 0.0) for n, text in enumerate(texts)]


def later(words: Sequence[Word], seconds: float) -> list[Word]:
    """Return words in the time of the stream, in which their segment begins at this second."""
    return [
        replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3))
        for word in words
    ]
