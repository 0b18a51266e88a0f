"""Word, character and cluster errors as integer counts, and word alignments, all by one aligner (rapidfuzz).

Rates are made from sums of counts, at the very end. Alignments of least cost are not unique: other tools
split the same total differently into substitutions, deletions and insertions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from maya_eval.graphemes import clusters


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Substitutions, deletions, insertions, and the length of the reference."""

    sub: int = 0
    del_: int = 0
    ins: int = 0
    ref: int = 0

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        """Adds two utterances or corpora."""
        return ErrorCounts(
            self.sub + other.sub, self.del_ + other.del_, self.ins + other.ins, self.ref + other.ref
        )

    @property
    def errors(self) -> int:
        """All errors together."""
        return self.sub + self.del_ + self.ins

    @property
    def rate(self) -> float | None:
        """Errors by reference length; None for an empty reference, whose insertions still count in a sum."""
        return self.errors / self.ref if self.ref else None


class Span(NamedTuple):
    """A stretch of an alignment: equal, replace, delete (missed) or insert (made up)."""

    op: str
    ref: list[str]
    hyp: list[str]


def word_errors(ref: str, hyp: str) -> ErrorCounts:
    """Returns the counts over words, split at any white space."""
    return _count(ref.split(), hyp.split())


def char_errors(ref: str, hyp: str) -> ErrorCounts:
    """Returns the counts over code points, spaces included."""
    return _count(ref, hyp)


def cluster_errors(ref: str, hyp: str) -> ErrorCounts:
    """Returns the counts over grapheme clusters, spaces included."""
    return _count(clusters(ref), clusters(hyp))


def sentence_errors(ref: str, hyp: str) -> ErrorCounts:
    """Returns one substitution where any word differs, over one sentence."""
    return ErrorCounts(sub=int(ref.split() != hyp.split()), ref=1)


def align_words(ref: str, hyp: str) -> Iterator[Span]:
    """Yields the word alignment of two texts in order, as stretches of one operation each."""
    ref_words, hyp_words = ref.split(), hyp.split()
    for op in Levenshtein.opcodes(ref_words, hyp_words):
        yield Span(op.tag, ref_words[op.src_start : op.src_end], hyp_words[op.dest_start : op.dest_end])


def _count(ref: Sequence[str], hyp: Sequence[str]) -> ErrorCounts:
    sub = del_ = ins = 0
    for operation in Levenshtein.editops(ref, hyp):
        if operation.tag == "replace":
            sub += 1
        elif operation.tag == "delete":
            del_ += 1
        else:
            ins += 1
    return ErrorCounts(sub, del_, ins, len(ref))
