import pytest
import torch

from maya_encoder.heads.lattice import lattice_nll
from maya_encoder.heads.rnnt_loss import JointSettings, Targets, cell_log_probs, rnnt_loss

B, T, U, J, V = 3, 4, 3, 5, 6
TARGETS = Targets(
    torch.tensor([4, 2, 3]), torch.tensor([[0, 4, 2], [1, 1, 1], [3, 3, 0]]), torch.tensor([3, 0, 2])
)


@pytest.fixture
def parts():
    torch.manual_seed(0)
    shapes = [(B, T, J), (B, U + 1, J), (V, J), (V,)]
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def loss_of(parts, settings, targets=TARGETS):
    return rnnt_loss(parts[0], parts[1], (parts[2], parts[3]), targets, settings)


def all_log_probs(parts, activation):
    hidden = getattr(torch, activation)(parts[0].unsqueeze(2) + parts[1].unsqueeze(1))
    return (hidden @ parts[2].T + parts[3]).log_softmax(-1)  # (B, T, U+1, V)


def over_all_paths(log_probs, tokens):
    """Minus log of the sum over all ways to write `tokens` in the frames of one utterance."""
    paths = []

    def walk(frame, written, score):
        if frame == len(log_probs):
            if written == len(tokens):
                paths.append(score)
            return
        walk(frame + 1, written, score + log_probs[frame, written, -1])
        if written < len(tokens):
            walk(frame, written + 1, score + log_probs[frame, written, tokens[written]])

    walk(0, 0, log_probs.new_zeros(()))
    return -torch.stack(paths).logsumexp(0)


def brute_force(parts, activation):
    lens = zip(TARGETS.encoder_out_lens.tolist(), TARGETS.token_lens.tolist(), strict=True)
    log_probs = all_log_probs(parts, activation)
    rows = [over_all_paths(log_probs[b, :t], TARGETS.tokens[b, :u].tolist()) for b, (t, u) in enumerate(lens)]
    return torch.stack(rows)


@pytest.mark.parametrize("max_values", [2**24, 50])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_value_and_gradient_are_those_of_the_sum_over_all_paths(parts, activation, max_values):
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    loss = loss_of(parts, JointSettings(activation, 0.0, max_values))
    wanted = brute_force(parts, activation)
    torch.testing.assert_close(loss, wanted)
    found_grads = torch.autograd.grad((loss * weights).sum(), parts)
    torch.testing.assert_close(found_grads, torch.autograd.grad((wanted * weights).sum(), parts))


def test_gradcheck(parts):
    settings = JointSettings("tanh", 0.0, 30)
    assert torch.autograd.gradcheck(lambda *parts: loss_of(parts, settings), parts)


def test_gradcheck_of_the_lattice_alone():
    blank, label = (-torch.rand(2, 3, 3, dtype=torch.float64).requires_grad_() for _ in range(2))
    lens = torch.tensor([3, 2]), torch.tensor([2, 1])
    never = torch.full((), -torch.inf, dtype=torch.float64)

    def outside_cut(blank, label):
        frames, positions = torch.arange(3).view(1, 3, 1), torch.arange(3)
        inside = (frames < lens[0].view(-1, 1, 1)) & (positions <= lens[1].view(-1, 1, 1))
        writes = inside & (positions < lens[1].view(-1, 1, 1))
        return lattice_nll(torch.where(inside, blank, never), torch.where(writes, label, never), *lens)

    assert torch.autograd.gradcheck(outside_cut, (blank, label))


def test_padding_changes_nothing(parts):
    settings = JointSettings("relu")
    together = loss_of(parts, settings)
    alone = rnnt_loss(
        parts[0][2:, :3],
        parts[1][2:, :3],
        (parts[2], parts[3]),
        Targets(*(x[2:] for x in TARGETS[:3])),
        settings,
    )
    torch.testing.assert_close(together[2:], alone)
    grads = torch.autograd.grad(together[1], parts[:2])
    assert grads[0][1, 2:].abs().max() == 0
    assert grads[1][1, 1:].abs().max() == 0


@pytest.mark.parametrize("max_values", [2**24, 30])
def test_dropout_is_the_same_in_both_passes(parts, max_values):
    settings = JointSettings("tanh", 0.5, max_values)

    def dropped(encoder_part, label_part):
        torch.manual_seed(3)
        return loss_of([encoder_part, label_part, *parts[2:]], settings)

    assert not torch.allclose(dropped(*parts[:2]), loss_of(parts, JointSettings("tanh")))
    assert torch.autograd.gradcheck(dropped, parts[:2])


def test_cells_hold_blank_and_next_label(parts):
    blank, label = cell_log_probs(parts[0], parts[1], (parts[2], parts[3]), TARGETS)
    log_probs = all_log_probs(parts, "relu")
    torch.testing.assert_close(blank[0], log_probs[0, ..., -1])
    torch.testing.assert_close(label[0, :, 1], log_probs[0, :, 1, 4])
    assert torch.isneginf(label[0, :, 3]).all()
    assert torch.isneginf(blank[1, 2:]).all()


def test_utterance_without_frames_counts_nothing(parts):
    targets = Targets(torch.tensor([4, 0, 3]), TARGETS.tokens, TARGETS.token_lens)
    loss = loss_of(parts, JointSettings(), targets)
    assert loss[1] == 0
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss.sum(), parts))


def test_nothing_is_kept_where_nothing_learns(parts):
    with torch.no_grad():
        loss = loss_of(parts, JointSettings())
    assert loss.grad_fn is None
    torch.testing.assert_close(loss, loss_of(parts, JointSettings()))


def test_long_improbable_utterances_stay_finite():
    torch.manual_seed(0)
    encoder_part, label_part = torch.randn(1, 300, 4).requires_grad_(), torch.randn(1, 101, 4)
    output = torch.randn(V, 4) * 10, torch.randn(V)
    targets = Targets(torch.tensor([300]), torch.randint(V - 1, (1, 100)), torch.tensor([100]))
    loss = rnnt_loss(encoder_part, label_part, output, targets)
    loss.sum().backward()
    assert loss.item() > 1000
    assert encoder_part.grad.isfinite().all()
