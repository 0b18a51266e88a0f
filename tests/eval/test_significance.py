import numpy as np
import pytest

from maya_eval.significance import bootstrap_interval


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
