import itertools

import pytest
import torch

from maya_encoder.heads.ctc import CTCConfig


@pytest.fixture
def head():
    torch.manual_seed(0)
    return CTCConfig().build(in_dim=3, vocab_size=4)


def collapsed(path, blank=3):
    return [label for label, _ in itertools.groupby(path) if label != blank]


def test_loss_is_the_sum_over_all_alignments(head):
    encoder_out = torch.randn(1, 4, 3)
    log_probs = head.log_probs(encoder_out)[0]
    paths = [p for p in itertools.product(range(4), repeat=4) if collapsed(p) == [1, 1]]
    total = torch.stack([sum(log_probs[t, label] for t, label in enumerate(path)) for path in paths])
    loss = head.loss(encoder_out, torch.tensor([4]), torch.tensor([[1, 1]]), torch.tensor([2]))
    torch.testing.assert_close(loss, -total.logsumexp(0)[None])


def test_padding_changes_nothing(head):
    encoder_out, tokens = torch.randn(1, 5, 3), torch.tensor([[0, 2]])
    alone = head.loss(encoder_out, torch.tensor([5]), tokens, torch.tensor([2]))
    padded = torch.cat([encoder_out, torch.full((1, 3, 3), 9.0)], dim=1)
    longer = torch.tensor([[0, 2, -100]])
    torch.testing.assert_close(head.loss(padded, torch.tensor([5]), longer, torch.tensor([2])), alone)
    assert head.decode(padded, torch.tensor([5])) == head.decode(encoder_out, torch.tensor([5]))


def test_infeasible_counts_the_blanks_between_repeats(head):
    tokens = torch.tensor([[1, 1, 2], [1, 2, 1], [1, 1, 0]])
    token_lens = torch.tensor([3, 3, 2])
    found = head.infeasible(torch.tensor([3, 3, 3]), tokens, token_lens)
    assert found.tolist() == [True, False, False]
    assert head.loss(torch.randn(3, 3, 3), torch.tensor([3, 3, 3]), tokens, token_lens)[0] == 0


def test_utterance_without_text_has_a_loss_of_blanks(head):
    encoder_out = torch.randn(1, 3, 3)
    tokens = torch.zeros(1, 0, dtype=torch.int64)
    loss = head.loss(encoder_out, torch.tensor([3]), tokens, torch.tensor([0]))
    torch.testing.assert_close(loss[0], -head.log_probs(encoder_out)[0, :, -1].sum())
    assert head.infeasible(torch.tensor([3]), tokens, torch.tensor([0])).tolist() == [False]


def test_decoding_merges_runs_and_drops_blanks(head):
    paths = torch.tensor([[1, 1, 3, 1, 2, 2], [3, 3, 0, 0, 1, 1]])
    with torch.no_grad():
        head.decoder_layers[0].weight.copy_(torch.cat([torch.eye(3), torch.zeros(1, 3)]).unsqueeze(-1))
        head.decoder_layers[0].bias.zero_()
    encoder_out = torch.eye(4)[paths][..., :3] * 9 - 1  # frames of the blank are below zero in every label
    assert head.decode(encoder_out, torch.tensor([6, 4])) == [[1, 1, 2], [0]]


def test_reductions(head):
    batch = (
        torch.randn(2, 6, 3),
        torch.tensor([6, 4]),
        torch.tensor([[1, 2, 0], [1, 9, -1]]),
        torch.tensor([3, 1]),
    )
    each = head.loss(*batch)
    torch.testing.assert_close(head.loss(*batch, reduction="sum"), each.sum())
    torch.testing.assert_close(head.loss(*batch, reduction="mean_batch"), each.mean())
    torch.testing.assert_close(head.loss(*batch, reduction="mean_volume"), each.sum() / 4)
    with pytest.raises(
        ValueError, match="`reduction` must be none, mean_batch, mean_volume or sum, got 'mean'"
    ):
        head.loss(*batch, reduction="mean")


def test_loss_is_single_precision_under_autocast(head):
    with torch.autocast("cpu", torch.bfloat16):
        loss = head.loss(torch.randn(1, 4, 3), torch.tensor([4]), torch.tensor([[1]]), torch.tensor([1]))
    assert loss.dtype == torch.float32


def test_targets_that_do_not_fit_are_named(head):
    frames = torch.randn(1, 4, 3)
    with pytest.raises(ValueError, match="`tokens` must be ids from 0 to 2, below the blank, got 3"):
        head.loss(frames, torch.tensor([4]), torch.tensor([[3]]), torch.tensor([1]))
    with pytest.raises(ValueError, match="`encoder_out_lens` must be at most 4, the frames there are, got 5"):
        head.loss(frames, torch.tensor([5]), torch.tensor([[1]]), torch.tensor([1]))


def test_language_mask_leaves_its_own_pieces_and_the_blank():
    head = CTCConfig().build(in_dim=3, vocab_size=4, lang_vocab={"hi": [0, 1], "bn": [2]})
    probs = head.log_probs(torch.randn(2, 5, 3), torch.tensor([0, 1])).exp()
    assert probs[0, :, 2].max() == 0
    assert probs[1, :, :2].max() == 0
    torch.testing.assert_close(probs.sum(dim=-1), torch.ones(2, 5))


def test_language_vocabulary_beyond_the_pieces_is_refused():
    with pytest.raises(ValueError, match="`lang_vocab` of 'hi' must hold ids from 0 to 2"):
        CTCConfig().build(in_dim=3, vocab_size=4, lang_vocab={"hi": [3]})


def test_parameter_names_are_nemos(head):
    assert {name: list(p.shape) for name, p in head.state_dict().items()} == {
        "decoder_layers.0.weight": [4, 3, 1],
        "decoder_layers.0.bias": [4],
    }
