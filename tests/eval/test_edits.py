import random

import jiwer
import pytest

from maya_eval.edits import (
    ErrorCounts,
    align_words,
    char_errors,
    cluster_errors,
    sentence_errors,
    word_errors,
)

INDIC = ["आज", "मौसम", "बहुत", "க்ஷமி", "இன்று", "மழை", "train", "ଆଜି", "ସୋମବାର", "ज़रूर", "কী"]


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


def test_cluster_errors_count_what_a_reader_sees():
    assert cluster_errors("क्षत्रिय", "क्षत्रीय") == ErrorCounts(1, 0, 0, 3)
    assert cluster_errors("a b", "ab") == ErrorCounts(0, 1, 0, 3)


def test_a_sentence_is_wrong_or_right():
    assert sentence_errors("a b", "a  b") == ErrorCounts(0, 0, 0, 1)
    assert sentence_errors("a b", "a c") == ErrorCounts(1, 0, 0, 1)


def test_an_empty_reference_has_no_rate():
    assert word_errors("", "a").rate is None
    assert (word_errors("", "a") + word_errors("a b", "a b")).rate == 0.5


def _texts(words, seed):
    rng = random.Random(seed)
    return [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(200)]


def _sum(count, refs, hyps):
    return sum((count(*pair) for pair in zip(refs, hyps, strict=True)), ErrorCounts())


@pytest.mark.parametrize("words", [INDIC, list("abcde")])
def test_totals_equal_jiwer(words):
    refs, hyps = _texts(words, 0), _texts(words, 1)
    ours, chars = _sum(word_errors, refs, hyps), _sum(char_errors, refs, hyps)
    theirs, their_chars = jiwer.process_words(refs, hyps), jiwer.process_characters(refs, hyps)
    for mine, other in ((ours, theirs), (chars, their_chars)):
        assert mine.errors == other.substitutions + other.deletions + other.insertions
        assert mine.ref == other.hits + other.substitutions + other.deletions
    assert ours.rate == pytest.approx(theirs.wer, abs=1e-15)
    assert chars.rate == pytest.approx(their_chars.cer, abs=1e-15)


@pytest.mark.parametrize("words", [INDIC, list("abcde")])
def test_totals_equal_kaldialign(words):
    kaldialign = pytest.importorskip("kaldialign")
    refs, hyps = _texts(words, 2), _texts(words, 3)
    ours, chars = _sum(word_errors, refs, hyps), _sum(char_errors, refs, hyps)
    pairs = [text.split() for text in refs], [text.split() for text in hyps]
    theirs, their_chars = kaldialign.batch_error_rate(*pairs), kaldialign.batch_error_rate(refs, hyps)
    assert (ours.errors, ours.ref) == (theirs["total"], theirs["ref_len"])
    assert (chars.errors, chars.ref) == (their_chars["total"], their_chars["ref_len"])


def test_alignment_spells_both_texts_out_again():
    spans = list(align_words("a b c d", "a x c y d e"))
    assert [word for span in spans for word in span.ref] == ["a", "b", "c", "d"]
    assert [word for span in spans for word in span.hyp] == ["a", "x", "c", "y", "d", "e"]
    assert [span.op for span in spans] == ["equal", "replace", "equal", "insert", "equal", "insert"]
