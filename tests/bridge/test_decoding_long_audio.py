from itertools import pairwise

import numpy as np
import pytest

from maya_bridge.decoding.long_audio import Cutting, cut_points

RATE = 1000


def words(total: float, level: float = 0.3, seed: int = 0) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Words of 0.3 to 0.9 seconds with pauses of 0.05 to 0.6 between them, and where they are."""
    draw = np.random.default_rng(seed)
    waveform, spans, now = np.zeros(int(total * RATE)), [], 0.2
    while now + 1 < total:
        end = now + draw.uniform(0.3, 0.9)
        a, b = int(now * RATE), int(end * RATE)
        waveform[a:b] = level * draw.standard_normal(b - a)
        spans.append((now, end))
        now = end + draw.choice([0.05, 0.1, 0.45, 0.6])
    return waveform, spans


def blanks(total: float, spans: list[tuple[float, float]]) -> np.ndarray:
    time = (np.arange(int(total / 0.08)) + 0.5) * 0.08
    return np.array([0.05 if any(a <= t < b for a, b in spans) else 0.98 for t in time])


def music(total: float, level: float) -> np.ndarray:
    time = np.arange(int(total * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * f * time) for f in (110, 138.6, 164.8))
    return level * chord * (1 + 0.5 * np.sin(2 * np.pi * 2 * time)) / 3


def check(pieces: list[tuple[int, int]], size: int, cap: float = 30.0) -> list[float]:
    assert pieces[0][0] == 0
    assert pieces[-1][1] == size
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert all(0 < end - start <= cap * RATE for start, end in pieces)
    return [end / RATE for _, end in pieces[:-1]]


def hits(cuts: list[float], spans: list[tuple[float, float]]) -> int:
    return sum(any(a < cut < b for a, b in spans) for cut in cuts)


@pytest.mark.parametrize("total", [0.001, 1.0, 29.9, 30.0])
def test_audio_up_to_the_cap_stays_whole(total) -> None:
    assert cut_points(np.zeros(int(total * RATE)), RATE) == [(0, int(total * RATE))]


@pytest.mark.parametrize("seed", range(5))
def test_cuts_lie_in_pauses_by_energy_alone(seed) -> None:
    waveform, spans = words(130.0, seed=seed)
    cuts = check(cut_points(waveform, RATE), len(waveform))
    assert len(cuts) >= 4
    assert hits(cuts, spans) == 0


@pytest.mark.parametrize("kind", ["noise", "music"])
@pytest.mark.parametrize("seed", range(3))
def test_cuts_lie_in_pauses_under_noise_and_music_that_are_louder_than_the_words(seed, kind) -> None:
    waveform, spans = words(130.0, level=0.1, seed=seed)
    loud = np.random.default_rng(9).standard_normal(len(waveform)) * 0.5
    under = waveform + (loud if kind == "noise" else music(130.0, 0.9))
    cuts = check(cut_points(under, RATE, blank_probs=blanks(130.0, spans)), len(under))
    assert hits(cuts, spans) == 0


def test_a_pause_that_the_encoder_mistakes_for_words_is_still_quiet() -> None:
    waveform, spans = words(100.0)
    deaf = np.full(1250, 0.05)
    assert hits(check(cut_points(waveform, RATE, blank_probs=deaf), len(waveform)), spans) == 0


@pytest.mark.parametrize("total", [30.001, 31.0, 45.0, 57.0, 60.5, 3600.0])
def test_steady_noise_and_silence_are_cut_into_even_pieces(total) -> None:
    for waveform in (
        np.zeros(int(total * RATE)),
        np.random.default_rng(0).standard_normal(int(total * RATE)),
    ):
        pieces = cut_points(waveform, RATE)
        check(pieces, len(waveform))
        assert min(end - start for start, end in pieces) > 9 * RATE


def test_other_lengths_are_kept_and_impossible_ones_refused() -> None:
    waveform, _ = words(60.0)
    check(cut_points(waveform, RATE, Cutting(target=8.0, cap=10.0, reach=2.0)), len(waveform), cap=10.0)
    with pytest.raises(ValueError, match="`target` must be above 0 and at most the cap 30"):
        Cutting(target=31.0)
    with pytest.raises(ValueError, match="`reach` must be above 0 and at most half of `target`"):
        Cutting(target=8.0)
