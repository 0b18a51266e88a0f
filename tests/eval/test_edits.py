import random

import jiwer
import pytest

from maya_eval.edits import ErrorCounts, align_words, char_errors, word_errors


@pytest.mark.parametrize(
    ("ref", "hyp", "counts"),
    [
        ("a b c", "a b c", (0, 0, 0, 3)),
        ("a b c", "a x c", (1, 0, 0, 3)),
        ("a b c", "a c", (0, 1, 0, 3)),
        ("a b c", "a b b2 c", (0, 0, 1, 3)),
        ("", "a b", (0, 0, 2, 0)),
        ("a b", "", (0, 2, 0, 2)),
        ("", "", (0, 0, 0, 0)),
        ("a\u00a0b", "a b", (0, 0, 0, 2)),
    ],
)
def test_word_errors_follow_the_hand_table(ref, hyp, counts):
    assert word_errors(ref, hyp) == ErrorCounts(*counts)


def test_char_errors_count_code_points_with_spaces():
    assert char_errors("क्षत्रिय", "क्षत्रिय").ref == 8
    assert char_errors("a b", "ab") == ErrorCounts(0, 1, 0, 3)


def test_an_empty_reference_has_no_rate():
    assert word_errors("", "a").rate is None
    assert (word_errors("", "a") + word_errors("a b", "a b")).rate == 0.5


def test_totals_equal_jiwer_on_random_indic_text():
    rng = random.Random(0)
    words = ["आज", "मौसम", "बहुत", "அச்சா", "இன்று", "மழை", "train", "ଆଜି", "ସୋମବାର"]
    refs = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(200)]
    hyps = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(200)]
    pairs = list(zip(refs, hyps, strict=True))
    ours = sum((word_errors(*pair) for pair in pairs), ErrorCounts())
    chars = sum((char_errors(*pair) for pair in pairs), ErrorCounts())
    assert ours.rate == pytest.approx(jiwer.wer(refs, hyps), abs=1e-15)
    assert chars.rate == pytest.approx(jiwer.cer(refs, hyps), abs=1e-15)


def test_alignment_spells_both_texts_out_again():
    spans = list(align_words("a b c d", "a x c y d e"))
    assert [word for span in spans for word in span.ref] == ["a", "b", "c", "d"]
    assert [word for span in spans for word in span.hyp] == ["a", "x", "c", "y", "d", "e"]
    assert [span.op for span in spans] == ["equal", "replace", "equal", "insert", "equal", "insert"]
