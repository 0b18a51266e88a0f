"""One utterance under one profile: both texts normalised, and its errors as integers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from maya_eval.edits import ErrorCounts, char_errors, cluster_errors, word_errors
from maya_eval.hypotheses import Hypothesis
from maya_eval.normalize import Profile

NO_ERRORS = ErrorCounts()


@dataclass(frozen=True, slots=True)
class Scored:
    """One utterance with its counts, under one profile."""

    hypothesis: Hypothesis
    ref: str
    hyp: str
    words: ErrorCounts
    chars: ErrorCounts
    clusters: ErrorCounts = NO_ERRORS
    profile: str = ""


def count_one(row: Hypothesis, profile: Profile) -> Scored:
    """Returns the counts of one utterance; a language that the profile does not know is named with it."""
    try:
        ref, hyp = profile.reference(row.text, row.lang), profile(row.pred_text, row.lang)
    except ValueError as error:
        raise ValueError(f"utterance {row.utt_id!r}: {error}") from error
    words, chars = word_errors(ref, hyp), char_errors(ref, hyp)
    return Scored(row, ref, hyp, words, chars, cluster_errors(ref, hyp), profile.name)


def count_all(rows: Iterable[Hypothesis], profile: Profile) -> Iterator[Scored]:
    """Yields the counts of utterances one by one."""
    for row in rows:
        yield count_one(row, profile)
