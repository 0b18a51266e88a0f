"""Transducer decoding against plain loops: one utterance, one frame, one sequence at a time."""

import math
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from maya_encoder.decoding import DecodingOptions, decode, decode_nbest
from maya_encoder.decoding.boosting import boost_tokens
from maya_encoder.decoding.transducer_viterbi import transducer_viterbi
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig

DURATIONS = {"rnnt": (), "tdt": (0, 1, 2, 4), "tdt_always_on": (1, 3)}


@pytest.fixture(params=["rnnt-lstm", "rnnt-stateless", "tdt-lstm", "tdt_always_on-lstm"])
def head(request):
    return make_head(*request.param.split("-"))


def make_head(kind, prediction="lstm", vocab_size=6, seed=0, **settings):
    torch.manual_seed(seed)
    sizes = {"prediction": prediction, "prediction_size": 8, "joint_size": 12, "max_symbols": 3} | settings
    durations = DURATIONS[kind]
    config = TDTConfig(durations=durations, **sizes) if durations else RNNTConfig(**sizes)
    head = config.build(in_dim=6, vocab_size=vocab_size).eval()
    with torch.no_grad():
        head.joint.joint_net[2].weight.mul_(4)
        head.joint.joint_net[2].bias[head.blank_id] += 0.8
    return head


class Cells:
    """Log-probabilities of the labels (blank last) and of the durations, cell by cell."""

    def __init__(self, head, encoder_out):
        self.head = head
        self.encoder_part = head.joint.enc(encoder_out)
        self.histories = {(): head.prediction.start(1)}
        self.seen = {}

    def __call__(self, t, tokens):
        if (t, tokens) not in self.seen:
            states, _ = self.history(tokens)
            logits = self.head.joint(self.encoder_part[t], self.head.joint.pred(states)[0])
            labels, durations = logits[: self.head.blank_id + 1], logits[self.head.blank_id + 1 :]
            lasting = durations.log_softmax(0).tolist() if len(durations) else None
            self.seen[t, tokens] = labels.log_softmax(0).tolist(), lasting
        return self.seen[t, tokens]

    def history(self, tokens):
        if tokens not in self.histories:
            _, before = self.history(tokens[:-1])
            self.histories[tokens] = self.head.prediction.step(torch.tensor(tokens[-1:]), before)
        return self.histories[tokens]


def one_by_one(head, encoder_out, num_frames):
    """Greedy decoding in a plain loop: tokens, frames, log-probabilities, score."""
    tokens, frames, log_probs, score = (), [], [], 0.0
    cells = Cells(head, encoder_out)
    t = here = 0
    while t < num_frames:
        labels, durations = cells(t, tokens)
        full = here >= head.config.max_symbols
        label = head.blank_id if full else labels.index(max(labels))
        is_blank = label == head.blank_id
        score += labels[label]
        move = int(is_blank)
        if durations is not None:
            kinds = [kind for kind, lasting in enumerate(head.durations) if lasting <= 1 or not full]
            kind = max(kinds, key=durations.__getitem__)
            score += durations[kind]
            move = max(head.durations[kind], int(is_blank))
        if not is_blank:
            tokens = (*tokens, label)
            frames.append(t)
            log_probs.append(labels[label])
        here = here + 1 if not move else 0
        t += move
    return list(tokens), frames, log_probs, score


@torch.no_grad()
def test_batched_greedy_equals_one_by_one(head):
    encoder_out = torch.randn(7, 25, 6) * 3
    lens = torch.tensor([25, 11, 1, 24, 0, 4, 25])
    found = decode(head, encoder_out, lens)
    for one, x, n in zip(found, encoder_out, lens.tolist(), strict=True):
        tokens, frames, log_probs, score = one_by_one(head, x, n)
        assert (one.tokens, one.frames) == (tokens, frames)
        assert one.log_probs == pytest.approx(log_probs, abs=1e-4)
        assert one.score == pytest.approx(score, abs=1e-3)
        assert one.confidences == pytest.approx([math.exp(p) for p in log_probs], abs=1e-4)
        assert all(f < end <= n for f, end in zip(one.frames, one.end_frames, strict=True))
    assert len(found[0].tokens) > 5
    assert found[4].tokens == []


@torch.no_grad()
@pytest.mark.parametrize("kind", ["rnnt", "tdt"])
def test_no_more_than_max_symbols_at_a_frame(kind):
    head = make_head(kind)
    head.joint.joint_net[2].bias[head.blank_id] -= 100
    if head.durations:
        head.joint.joint_net[2].bias[head.blank_id + 1] += 100
    (found,) = decode(head, torch.randn(1, 5, 6), torch.tensor([5]))
    assert found.frames == [t for t in range(5) for _ in range(3)]


@torch.no_grad()
def test_a_duration_is_where_a_label_ends():
    head = make_head("tdt_always_on")
    head.joint.joint_net[2].bias[-1] += 100  # every step takes 3 frames
    (found,) = decode(head, torch.randn(1, 20, 6) * 3, torch.tensor([20]))
    assert all(frame % 3 == 0 for frame in found.frames)
    assert found.end_frames == [min(frame + 3, 20) for frame in found.frames]


def sum_over_alignments(head, encoder_out, steps):
    """Probability of every sequence, with at most `steps` labels at a frame; moves beyond the end stop it."""
    num_frames, cells = len(encoder_out), Cells(head, encoder_out)
    waiting = [defaultdict(float) for _ in range(num_frames + 1)]
    waiting[0][()] = 1.0
    for t in range(num_frames):
        here = waiting[t]
        for step in range(steps + 1):
            staying = defaultdict(float)
            for tokens, mass in here.items():
                labels, durations = cells(t, tokens)
                for duration, extra in ways(head, durations):
                    shares = [mass * math.exp(label + extra) for label in labels]
                    waiting[min(t + max(1, duration[0]), num_frames)][tokens] += shares[-1]
                    for label in range(head.blank_id if step < steps else 0):
                        target = waiting[min(t + duration[1], num_frames)] if duration[1] else staying
                        target[(*tokens, label)] += shares[label]
            here = staying
    return waiting[num_frames]


def ways(head, durations):
    """How far (blank, label) may move, each with its log-probability."""
    if durations is None:
        return [((1, 0), 0.0)]
    return [((lasting, lasting), extra) for lasting, extra in zip(head.durations, durations, strict=True)]


def wide(**settings):
    unlimited = {"beam_size": 130, "expansion_beta": 0, "expansion_gamma": 1e9, "candidates": 100}
    return DecodingOptions(strategy="beam", **(unlimited | settings))


@torch.no_grad()
@pytest.mark.parametrize("kind", DURATIONS)
@pytest.mark.parametrize("steps", [1, 2])
def test_unlimited_beam_sums_over_all_alignments(kind, steps):
    head = make_head(kind, vocab_size=3, seed=steps, max_symbols=steps)
    encoder_out = torch.randn(1, 3, 6) * 2
    truth = sum_over_alignments(head, encoder_out[0], steps)
    options = wide(expansion_steps=steps)
    (found,) = decode_nbest(head, encoder_out, torch.tensor([3]), options=options, nbest=300)
    masses = {tuple(one.tokens): math.exp(one.score) for one in found}
    assert set(masses) == set(truth)
    for tokens, mass in truth.items():
        assert masses[tokens] == pytest.approx(mass, rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", DURATIONS)
def test_beam_is_never_worse_than_greedy_and_often_better(kind):
    head = make_head(kind)
    encoder_out, lens = torch.randn(8, 15, 6) * 2, torch.tensor([15, 15, 14, 13, 9, 5, 1, 0])
    greedy = decode(head, encoder_out, lens)
    beam = decode(head, encoder_out, lens, options=DecodingOptions(strategy="beam"))
    assert all(b.score >= g.score for b, g in zip(beam, greedy, strict=True))
    assert any(b.tokens != g.tokens for b, g in zip(beam, greedy, strict=True))


@torch.no_grad()
def test_what_greedy_finds_is_not_lost_in_a_narrow_beam():
    head = make_head("tdt_always_on", seed=6)
    encoder_out, lens = torch.randn(8, 15, 6) * 3, torch.full((8,), 15)
    options = DecodingOptions(strategy="beam", beam_size=1, expansion_steps=1, expansion_beta=0)
    greedy, beam = decode(head, encoder_out, lens), decode(head, encoder_out, lens, options=options)
    assert any(b == g for b, g in zip(beam, greedy, strict=True))  # here the beam alone finds worse
    assert all(b.score >= g.score for b, g in zip(beam, greedy, strict=True))


@torch.no_grad()
def test_beam_does_not_depend_on_the_batch(head):
    encoder_out, lens = torch.randn(4, 12, 6) * 3, torch.tensor([12, 7, 0, 3])
    options = DecodingOptions(strategy="beam")
    together = decode(head, encoder_out, lens, options=options)
    for row, n in enumerate(lens.tolist()):
        (alone,) = decode(head, encoder_out[row : row + 1, : max(n, 1)], lens[row : row + 1], options=options)
        assert alone.tokens == together[row].tokens
        assert alone.frames == together[row].frames
        assert alone.score == pytest.approx(together[row].score, abs=1e-3)


@torch.no_grad()
def test_beam_tokens_have_places_and_confidences(head):
    encoder_out, lens = torch.randn(3, 20, 6) * 3, torch.tensor([20, 9, 15])
    for found, n in zip(
        decode(head, encoder_out, lens, options=wide(beam_size=4)), lens.tolist(), strict=True
    ):
        assert found.frames == sorted(found.frames)
        assert all(f < end <= n for f, end in zip(found.frames, found.end_frames, strict=True))
        assert all(0 <= c <= 1 for c in found.confidences)
        assert len(found.tokens) == len(found.frames) == len(found.log_probs) == len(found.confidences)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["rnnt", "tdt"])
def test_boosting_adds_to_the_score_of_what_holds_the_phrase(kind):
    head = make_head(kind, vocab_size=3)
    encoder_out, lens = torch.randn(1, 3, 6) * 2, torch.tensor([3])
    plain = wide(expansion_steps=1)
    boosted = replace(plain, boost=boost_tokens({(0, 1): 1.5}, num_tokens=2))
    before = {
        tuple(n.tokens): n.score for n in decode_nbest(head, encoder_out, lens, options=plain, nbest=99)[0]
    }
    after = {
        tuple(n.tokens): n.score for n in decode_nbest(head, encoder_out, lens, options=boosted, nbest=99)[0]
    }
    for tokens in ((), (0,), (1, 0), (0, 1), (0, 1, 1)):
        gain = 3.0 * sum(pair == (0, 1) for pair in pairwise(tokens))
        assert after[tokens] == pytest.approx(before[tokens] + gain, abs=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", DURATIONS)
def test_viterbi_finds_the_best_alignment(kind):
    head = make_head(kind, vocab_size=4)
    encoder_out = torch.randn(3, 4, 6) * 2
    lens, tokens, token_lens = (
        torch.tensor([4, 3, 2]),
        torch.tensor([[0, 2, 1], [1, 1, 0], [2, 0, 0]]),
        [3, 2, 0],
    )
    found = transducer_viterbi(head, encoder_out, lens, tokens, torch.tensor(token_lens))
    for row, count in enumerate(token_lens):
        wanted = best_alignment(head, encoder_out[row, : lens[row]], tokens[row, :count].tolist())
        assert found[row, :count].tolist() == wanted
        assert found[row, count:].tolist() == [0] * (3 - count)


def best_alignment(head, encoder_out, tokens):
    """Frames of the tokens on the best path, by trying all of them."""
    cells, best = Cells(head, encoder_out), (-math.inf, [])

    def walk(t, u, score, frames):
        nonlocal best
        if t >= len(encoder_out):
            best = max(best, (score, frames)) if u == len(tokens) else best
            return
        labels, durations = cells(t, tuple(tokens[:u]))
        for duration, extra in ways(head, durations):
            walk(t + max(1, duration[0]), u, score + extra + labels[-1], frames)
            if u < len(tokens):
                walk(t + duration[1], u + 1, score + extra + labels[tokens[u]], [*frames, t])

    walk(0, 0, 0.0, [])
    return best[1]


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
@pytest.mark.parametrize("kind", ["rnnt", "tdt"])
def test_a_language_mask_holds(kind, strategy):
    torch.manual_seed(0)
    config = make_head(kind).config
    head = config.build(in_dim=6, vocab_size=7, lang_vocab={"hi": [0, 1, 2], "bn": [3, 4, 5]}).eval()
    options = DecodingOptions(strategy=strategy)
    hindi, bengali = decode(
        head, torch.randn(2, 9, 6) * 5, torch.tensor([9, 9]), torch.tensor([0, 1]), options
    )
    assert {*hindi.tokens} <= {0, 1, 2}
    assert {*bengali.tokens} <= {3, 4, 5}
    assert hindi.tokens
    assert bengali.tokens


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_an_output_layer_for_each_language_writes_public_ids(strategy):
    torch.manual_seed(0)
    config = RNNTConfig(prediction_size=8, joint_size=12, max_symbols=2, lang_outputs=True)
    head = config.build(in_dim=6, vocab_size=7, lang_vocab={"hi": [0, 1, 2], "bn": [3, 4, 5]}).eval()
    encoder_out, lens = torch.randn(3, 9, 6) * 9, torch.tensor([9, 7, 9])
    options = DecodingOptions(strategy=strategy)
    found = decode(head, encoder_out, lens, torch.tensor([1, 0, 1]), options)
    for row, ids in ((0, {3, 4, 5}), (1, {0, 1, 2}), (2, {3, 4, 5})):
        assert found[row].tokens
        assert {*found[row].tokens} <= ids
    with pytest.raises(ValueError, match="needs `lang_ids`, got none"):
        decode(head, encoder_out, lens)


def test_boosting_knows_the_public_ids_of_a_language_with_its_own_output_layer():
    torch.manual_seed(0)
    config = RNNTConfig(prediction_size=8, joint_size=12, lang_outputs=True)
    head = config.build(in_dim=6, vocab_size=7, lang_vocab={"hi": [0, 1, 2], "bn": [3, 4, 5]}).eval()
    encoder_out, lens, langs = torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([1])
    options = wide(beam_size=4, boost=boost_tokens({(5, 5): 20.0}, num_tokens=6))
    (found,) = decode(head, encoder_out, lens, langs, options)
    assert found.tokens[:2] == [5, 5]


def test_settings_without_effect_are_refused():
    with pytest.raises(ValueError, match="`boost` needs the strategy beam, got greedy"):
        DecodingOptions(boost=boost_tokens({(0,): 1.0}, num_tokens=2))
    with pytest.raises(ValueError, match="`beam_size` must be 1 or more, got 0"):
        DecodingOptions(beam_size=0)
    with pytest.raises(ValueError, match="`strategy` must be greedy or beam, got 'best'"):
        DecodingOptions(strategy="best")


@torch.no_grad()
@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_no_frames_give_no_tokens(head, strategy):
    options = DecodingOptions(strategy=strategy)
    found = decode(head, torch.zeros(2, 0, 6), torch.tensor([0, 0]), options=options)
    assert [(one.tokens, one.score) for one in found] == [([], 0.0)] * 2


@torch.no_grad()
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_a_gpu_writes_the_same(head, strategy):
    boost = boost_tokens({(0, 1): 1.0}, num_tokens=5) if strategy == "beam" else None
    options = DecodingOptions(strategy=strategy, boost=boost)
    batch = torch.randn(4, 20, 6) * 3, torch.tensor([20, 11, 0, 4])
    wanted = decode(head, *batch, options=options)
    found = decode(head.cuda(), *(tensor.cuda() for tensor in batch), options=options)
    assert [(one.tokens, one.frames) for one in found] == [(one.tokens, one.frames) for one in wanted]


def test_no_utterances_give_no_results(head):
    none = torch.zeros(0, 5, 6), torch.zeros(0, dtype=torch.int64)
    assert decode(head, *none) == decode(head, *none, options=DecodingOptions(strategy="beam")) == []


def test_a_beam_computes_no_state_for_sequences_that_are_out():
    head = make_head("rnnt", vocab_size=9)
    with torch.no_grad():
        head.joint.joint_net[2].weight.mul_(4)
    rows, plain = [], head.prediction.step

    def counting(labels, state):
        rows.append(len(labels))
        return plain(labels, state)

    head.prediction.step = counting
    encoder_out, lens = torch.randn(4, 12, 6), torch.tensor([12, 1, 2, 1])
    options = DecodingOptions(strategy="beam", beam_size=4)
    together = decode(head, encoder_out, lens, options=options)
    of_batch, _ = sum(rows), rows.clear()
    alone = [
        decode(head, encoder_out[row : row + 1], lens[row : row + 1], options=options)[0] for row in range(4)
    ]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert of_batch < 1.1 * sum(rows)  # the greedy search fills its batches up
