import numpy as np
import pytest

from maya_eval.significance import bootstrap_interval, holm, paired_bootstrap, speakers_or_none


def test_the_interval_of_a_binomial_is_near_the_textbook():
    errors = (np.random.default_rng(0).random(2000) < 0.2).astype(np.int64)
    low, high = bootstrap_interval(errors, np.ones(2000, dtype=np.int64))
    half = 1.96 * np.sqrt(0.2 * 0.8 / 2000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert low < errors.mean() < high


def test_utterances_of_one_speaker_are_drawn_together():
    errors = np.repeat([0, 5], 50)
    words = np.full(100, 10)
    alone = bootstrap_interval(errors, words)
    together = bootstrap_interval(errors, words, ["a"] * 50 + ["b"] * 50)
    assert together == (0.0, 0.5)
    assert alone[1] - alone[0] < 0.2


def test_the_seed_fixes_it_and_chunks_do_not_matter(monkeypatch):
    errors, words = np.arange(40) % 4, np.full(40, 5)
    whole = bootstrap_interval(errors, words, seed=1)
    monkeypatch.setattr("maya_eval.significance.CHUNK", 400)
    assert bootstrap_interval(errors, words, seed=1) == whole


@pytest.mark.parametrize(("errors", "words"), [([1], [2]), ([1, 1], [0, 0])])
def test_there_is_no_interval_where_nothing_can_vary(errors, words):
    assert bootstrap_interval(np.array(errors), np.array(words)) == (None, None)


def test_drawing_kinds_of_rows_equals_drawing_rows():
    rng = np.random.default_rng(0)
    errors, words = rng.integers(0, 4, 60), rng.integers(3, 9, 60)
    low, high = bootstrap_interval(errors, words, samples=20_000)
    drawn = rng.integers(60, size=(20_000, 60))
    rates = errors[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    assert (low, high) == pytest.approx(tuple(np.quantile(rates, [0.025, 0.975])), abs=0.004)


def test_the_paired_bootstrap_sees_a_small_but_steady_gain():
    rng = np.random.default_rng(1)
    words = np.full(200, 10)
    first = rng.integers(0, 6, 200)
    second = first - (np.arange(200) % 5 == 0) * (first > 0)
    found = paired_bootstrap(first, second, words)
    assert found.difference == pytest.approx((second - first).sum() / words.sum())
    assert found.low < found.difference < found.high < 0
    assert found.p < 0.001


def test_the_paired_bootstrap_of_equal_systems_claims_nothing():
    errors = np.arange(50) % 3
    found = paired_bootstrap(errors, errors, np.full(50, 4))
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_the_paired_bootstrap_rejects_a_true_null_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    words = np.full(60, 8)
    p_values = [
        paired_bootstrap(rng.binomial(8, 0.2, 60), rng.binomial(8, 0.2, 60), words, samples=400).p
        for _ in range(300)
    ]
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.1


def test_the_difference_of_two_speakers_is_one_of_few_outcomes():
    found = paired_bootstrap(
        np.zeros(20, int), np.repeat([1, 0], 10), np.full(20, 5), ["a"] * 10 + ["b"] * 10
    )
    assert (found.low, found.high) == (0.0, 0.2)
    assert found.p > 0.4


def test_a_paired_test_without_words_is_refused():
    with pytest.raises(ValueError, match="needs reference words"):
        paired_bootstrap(np.ones(3, int), np.ones(3, int), np.zeros(3, int))


def test_holm_follows_the_textbook():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": None})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06, "e": None})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_speakers_count_where_all_are_known_and_enough():
    assert speakers_or_none(["a", "b"]) == ["a", "b"]
    assert speakers_or_none(["a", None, "b"]) is None
    assert speakers_or_none(["a", "a"]) is None
    assert speakers_or_none(["a", "b"], minimum=5) is None
