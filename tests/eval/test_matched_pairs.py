import math
import random

import pytest

from maya_eval.edits import word_errors
from maya_eval.matched_pairs import matched_pairs, segments


@pytest.mark.parametrize(
    ("ref", "first", "second", "expected"),
    [
        ("a b c d", "a b c d", "a b c d", []),
        ("a b c d e", "x b c d e", "a b c d y", [(1, 0), (0, 1)]),
        ("a b c d", "x b c y", "a b c d", [(1, 0), (1, 0)]),
        ("a b c", "x b y", "a b c", [(2, 0)]),
        ("a b c d", "a b z c d", "a b c d", [(1, 0)]),
        ("a b c d", "a b z c d q", "a b c d", [(1, 0), (1, 0)]),
        ("", "a b", "", [(2, 0)]),
    ],
)
def test_segments_end_where_both_have_two_words_right(ref, first, second, expected):
    assert list(segments(ref, first, second)) == expected


def test_segments_hold_every_error():
    rng = random.Random(0)
    for _ in range(100):
        ref, first, second = (" ".join(rng.choices("abcd", k=rng.randint(0, 12))) for _ in range(3))
        sums = [sum(column) for column in zip(*segments(ref, first, second), strict=True)] or [0, 0]
        assert sums == [word_errors(ref, first).errors, word_errors(ref, second).errors]


def test_the_statistic_is_the_mean_over_its_standard_error():
    texts = [("a b c", "x b c", "a b c")] * 40 + [("a b c", "a b c", "x b c")] * 20
    found = matched_pairs(texts)
    assert (found.segments, found.mean) == (60, pytest.approx(-1 / 3))
    deviation = math.sqrt(sum((gap + 1 / 3) ** 2 for gap in [-1] * 40 + [1] * 20) / 59)
    assert found.z == pytest.approx(-1 / 3 / (deviation / math.sqrt(60)))
    assert found.p == pytest.approx(math.erfc(abs(found.z) / math.sqrt(2)))


def test_too_few_segments_are_refused():
    assert matched_pairs([("a b", "x b", "a b")] * 29).p is None
    assert matched_pairs([("a b", "x b", "a b")] * 29, minimum=10).p == 0.0


def test_equal_systems_differ_by_nothing():
    found = matched_pairs([("a b", "x b", "x b")] * 50)
    assert (found.z, found.p) == (0.0, 1.0)
