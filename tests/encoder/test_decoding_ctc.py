"""CTC decoding against the sum over every path of tiny lattices."""

import itertools
import math
from collections import defaultdict

import pytest
import torch

from maya_encoder.decoding.ctc_beam import ctc_beam
from maya_encoder.decoding.ctc_greedy import ctc_greedy
from maya_encoder.decoding.options import DecodingOptions
from maya_encoder.decoding.viterbi import DoesNotFit, ctc_viterbi, frames_needed

BLANK = 3


def lattice(num_frames, batch=1, seed=0, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, num_frames, BLANK + 1, generator=generator) * sharpness
    return logits.log_softmax(dim=-1)


def collapse(path):
    return tuple(label for label, _ in itertools.groupby(path) if label != BLANK)


def paths_of(log_probs):
    """Every path with its log-probability."""
    for path in itertools.product(range(BLANK + 1), repeat=len(log_probs)):
        yield path, sum(float(log_probs[t, label]) for t, label in enumerate(path))


def summed(log_probs):
    """Probability of every token sequence."""
    total = defaultdict(float)
    for path, log_prob in paths_of(log_probs):
        total[collapse(path)] += math.exp(log_prob)
    return total


def wide(**settings):
    return DecodingOptions(strategy="beam", beam_size=150, **settings)


@pytest.mark.parametrize("seed", range(4))
def test_wide_beam_sums_over_all_paths(seed):
    log_probs = lattice(4, seed=seed)
    truth = summed(log_probs[0])
    (found,) = ctc_beam(log_probs, torch.tensor([4]), wide(), nbest=150)
    assert {tuple(one.tokens) for one in found} == set(truth)
    for one in found:
        assert math.exp(one.score) == pytest.approx(truth[tuple(one.tokens)], rel=1e-4)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_narrow_beam_finds_the_best_sequence_that_greedy_misses():
    probs = torch.tensor([[0.4, 0.0, 0.0, 0.6], [0.4, 0.0, 0.0, 0.6]])
    log_probs, lens = probs.log().unsqueeze(0), torch.tensor([2])
    assert ctc_greedy(log_probs, lens)[0].tokens == []
    ((best,),) = ctc_beam(log_probs, lens, DecodingOptions(strategy="beam", beam_size=2))
    assert best.tokens == [0]
    assert math.exp(best.score) == pytest.approx(0.64)


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_beam_is_never_worse_than_greedy(beam_size):
    log_probs, lens = lattice(30, batch=12, seed=7, sharpness=1.0), torch.randint(1, 31, (12,))
    options = DecodingOptions(strategy="beam", beam_size=beam_size, candidates=2)
    for (best, *_), greedy in zip(
        ctc_beam(log_probs, lens, options), ctc_greedy(log_probs, lens), strict=True
    ):
        assert best.score >= greedy.score


def test_what_greedy_finds_is_not_lost_in_a_narrow_beam():
    probs = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.33, 0.34, 0.0, 0.33], [0.98, 0.01, 0.0, 0.01]])
    options = DecodingOptions(strategy="beam", beam_size=1)
    ((best,),) = ctc_beam(probs.log().unsqueeze(0), torch.tensor([3]), options)
    assert best.tokens == [0, 1, 0]
    assert math.exp(best.score) == pytest.approx(0.34 * 0.98)


def test_greedy_tells_frames_and_probabilities():
    best = [0, 0, 3, 0, 1, 3]
    probs = torch.full((6, 4), 0.1)
    probs[range(6), best] = torch.tensor([0.7, 0.9, 0.8, 0.6, 0.5, 0.8])
    (found,) = ctc_greedy(probs.log().unsqueeze(0), torch.tensor([6]))
    assert (found.tokens, found.frames, found.end_frames) == ([0, 0, 1], [0, 3, 4], [2, 4, 5])
    assert found.confidences == pytest.approx([0.9, 0.6, 0.5])
    assert found.log_probs == pytest.approx([math.log(p) for p in (0.9, 0.6, 0.5)])
    assert math.exp(found.score) == pytest.approx(0.7 * 0.9 * 0.8 * 0.6 * 0.5 * 0.8)


@pytest.mark.parametrize(
    "decode", [ctc_greedy, lambda *a: [n[0] for n in ctc_beam(*a, DecodingOptions(strategy="beam"))]]
)
def test_batch_and_padding_change_nothing(decode):
    log_probs, lens = lattice(9, batch=4, seed=3), torch.tensor([9, 4, 0, 1])
    together = decode(log_probs, lens)
    for row, n in enumerate(lens.tolist()):
        (alone,) = decode(log_probs[row : row + 1, :n], torch.tensor([n]))
        assert alone.tokens == together[row].tokens
        assert alone.frames == together[row].frames
        assert alone.score == pytest.approx(together[row].score, abs=1e-4)
    assert together[2].tokens == []


def test_beam_without_utterances_or_frames_gives_nothing():
    assert ctc_beam(torch.zeros(0, 5, 4), torch.zeros(0, dtype=torch.int64), wide()) == []
    ((found,),) = ctc_beam(torch.zeros(1, 0, 4), torch.tensor([0]), wide())
    assert found.tokens == []


@pytest.mark.parametrize("tokens", [(), (0,), (0, 0), (0, 1), (1, 1, 2), (2, 0, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_viterbi_finds_the_best_path(tokens, seed):
    log_probs = lattice(5, seed=seed, sharpness=1.0)
    path, best = max(
        ((p, score) for p, score in paths_of(log_probs[0]) if collapse(p) == tokens), key=lambda item: item[1]
    )
    (found,) = ctc_viterbi(log_probs, torch.tensor([5]), [tokens])
    runs = [(label, len(list(run))) for label, run in itertools.groupby(path)]
    starts = itertools.accumulate((length for _, length in runs), initial=0)
    spans = [(s, s + length) for s, (label, length) in zip(starts, runs, strict=False) if label != BLANK]
    assert found.score == pytest.approx(best, abs=1e-4)
    assert list(zip(found.frames, found.end_frames, strict=True)) == spans
    assert found.tokens == list(tokens)
    for token, (start, end), log_prob in zip(found.tokens, spans, found.log_probs, strict=True):
        assert log_prob == pytest.approx(float(log_probs[0, start:end, token].max()))


def test_viterbi_does_not_depend_on_the_batch():
    log_probs, lens = lattice(8, batch=3, seed=5), torch.tensor([8, 3, 5])
    tokens = [[0, 1, 1, 2], [2], []]
    together = ctc_viterbi(log_probs, lens, tokens)
    for row, n in enumerate(lens.tolist()):
        assert (
            ctc_viterbi(log_probs[row : row + 1, :n], lens[row : row + 1], [tokens[row]])[0] == together[row]
        )


def test_text_that_does_not_fit_is_refused_with_both_numbers():
    assert frames_needed([1, 1, 2, 2]) == 6
    with pytest.raises(DoesNotFit, match=r"the text needs 6 frames or more, the audio has 5"):
        ctc_viterbi(lattice(5), torch.tensor([5]), [[1, 1, 2, 2]])


def test_beam_places_tokens_by_their_best_alignment():
    log_probs = lattice(12, batch=2, seed=2)
    lens = torch.tensor([12, 10])
    best = [found[0] for found in ctc_beam(log_probs, lens, DecodingOptions(strategy="beam"))]
    for one, placed in zip(best, ctc_viterbi(log_probs, lens, [b.tokens for b in best]), strict=True):
        assert (one.frames, one.end_frames, one.confidences) == (
            placed.frames,
            placed.end_frames,
            placed.confidences,
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same():
    log_probs, lens = lattice(12, batch=3, seed=2), torch.tensor([12, 10, 1])
    options = DecodingOptions(strategy="beam")
    wanted = [found[0] for found in ctc_beam(log_probs, lens, options)]
    found = [found[0] for found in ctc_beam(log_probs.cuda(), lens.cuda(), options)]
    assert [(one.tokens, one.frames) for one in found] == [(one.tokens, one.frames) for one in wanted]
