import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from maya_encoder.heads import joint_cells
from maya_encoder.heads.activations import dropout_scale
from maya_encoder.heads.lattice import Arcs, path_sums
from maya_encoder.heads.transducer_loss import TransducerSettings, transducer_loss

B, T, U, J, V = 4, 5, 3, 5, 6
LENS = torch.tensor([5, 2, 1, 3])
TOKENS = torch.tensor([[0, 4, 2], [1, -1, -1], [3, 3, 99], [2, 0, 1]])
TOKEN_LENS = torch.tensor([3, 0, 2, 1])  # more tokens than frames, none, and one frame among them
RNNT, TDT, SPARSE = (), (0, 1, 2, 3), (3, 1)


def make_parts(durations=(), dtype=torch.float64):
    torch.manual_seed(0)
    shapes = [(B, T, J), (B, U + 1, J), (V + len(durations), J), (V + len(durations),)]
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


def loss_of(parts, lens=LENS, tokens=TOKENS, token_lens=TOKEN_LENS, **settings):
    targets = (lens, tokens, token_lens)
    return transducer_loss(parts[0], parts[1], (parts[2], parts[3]), *targets, TransducerSettings(**settings))


def all_log_probs(parts, durations=(), activation="relu"):
    """Of labels (B, T, U+1, V) and of durations (B, T, U+1, N)."""
    hidden = getattr(torch, activation)(parts[0].unsqueeze(2) + parts[1].unsqueeze(1))
    logits = hidden @ parts[2].T + parts[3]
    labels, frames = logits.split([V, len(durations)], dim=-1)
    return labels.log_softmax(-1), frames.log_softmax(-1)


def over_all_paths(labels, frames, tokens, durations):
    """Minus log of the sum over all ways to write `tokens` in the frames of an utterance; 0 without any."""
    paths = []
    label_steps = list(enumerate(durations)) or [(None, 0)]
    blank_steps = [(n, d) for n, d in enumerate(durations) if d] or [(None, 1)]

    def walk(frame, written, score):
        if frame == len(labels) and written == len(tokens):
            paths.append(score)
        if frame >= len(labels):
            return
        here = labels[frame, written]
        for n, step in blank_steps:
            walk(frame + step, written, score + here[-1] + lasting(frame, written, n))
        for n, step in label_steps if written < len(tokens) else ():
            if frame + step < len(labels):  # the last step is a blank
                walk(frame + step, written + 1, score + here[tokens[written]] + lasting(frame, written, n))

    def lasting(frame, written, n):
        return 0 if n is None else frames[frame, written, n]

    walk(0, 0, labels.new_zeros(()))
    return -torch.stack(paths).logsumexp(0) if paths else labels.sum() * 0


def brute_force(parts, durations=(), activation="relu", sigma=0.0):
    labels, frames = all_log_probs(parts, durations, activation)
    labels = labels - sigma
    lens = zip(LENS.tolist(), TOKEN_LENS.tolist(), strict=True)
    rows = [
        over_all_paths(labels[b, :t], frames[b, :t], TOKENS[b, :u].tolist(), durations)
        for b, (t, u) in enumerate(lens)
    ]
    return torch.stack(rows)


def assert_same_with_gradient(found, wanted, parts):
    weights = torch.tensor([1.0, -2.0, 0.5, 0.25], dtype=torch.float64)
    torch.testing.assert_close(found, wanted)
    found_grads = torch.autograd.grad((found * weights).sum(), parts)
    torch.testing.assert_close(found_grads, torch.autograd.grad((wanted * weights).sum(), parts))


@pytest.mark.parametrize("max_values", [None, 50])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("durations", [RNNT, TDT, SPARSE, (2, 4)])
def test_value_and_gradient_are_those_of_the_sum_over_all_paths(durations, activation, max_values):
    parts = make_parts(durations)
    found = loss_of(parts, durations=durations, activation=activation, max_values=max_values)
    assert_same_with_gradient(found, brute_force(parts, durations, activation), parts)


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_gradcheck(durations):
    parts = make_parts(durations)
    options = {"durations": durations, "activation": "tanh", "max_values": 30}
    assert torch.autograd.gradcheck(lambda *parts: loss_of(parts, **options), parts, fast_mode=True)


def test_sigma_is_taken_off_every_label_and_blank():
    parts = make_parts(TDT)
    found = loss_of(parts, durations=TDT, sigma=0.3)
    assert_same_with_gradient(found, brute_force(parts, TDT, sigma=0.3), parts)


def test_omega_mixes_in_the_plain_loss_without_sigma():
    parts = make_parts(TDT)
    found = loss_of(parts, durations=TDT, sigma=0.3, omega=0.2)
    labels = [parts[0], parts[1], parts[2][:V], parts[3][:V]]
    wanted = 0.8 * brute_force(parts, TDT, sigma=0.3) + 0.2 * brute_force(labels)
    assert_same_with_gradient(found, wanted, parts)


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_fastemit_scales_the_gradient_of_labels_only(durations):
    parts = make_parts(durations)
    pure = loss_of(parts, durations=durations)
    found = loss_of(parts, durations=durations, fastemit_lambda=0.5)
    torch.testing.assert_close(found, pure)
    labels, frames = all_log_probs(parts, durations)
    louder = labels[..., :-1]
    louder = louder + 0.5 * (louder - louder.detach())  # the same value, 1.5 times the gradient
    wanted = []
    for b, (t, u) in enumerate(zip(LENS.tolist(), TOKEN_LENS.tolist(), strict=True)):
        both = torch.cat([louder, labels[..., -1:]], dim=-1)[b, :t]
        wanted.append(over_all_paths(both, frames[b, :t], TOKENS[b, :u].tolist(), durations))
    assert_same_with_gradient(found, torch.stack(wanted), parts)


def test_shares_are_derivatives_of_the_lattice_alone():
    lens = torch.tensor([3, 2]), torch.tensor([2, 1])
    frames, positions = torch.arange(3).view(1, 3, 1), torch.arange(3)
    own = (frames < lens[0].view(-1, 1, 1)) & (positions <= lens[1].view(-1, 1, 1))
    writes = own & (positions < lens[1].view(-1, 1, 1))
    blank = torch.where(own, -torch.rand(2, 3, 3, dtype=torch.float64), -torch.inf)
    label = torch.where(writes, -torch.rand(2, 3, 3, dtype=torch.float64), -torch.inf)
    found = path_sums(Arcs(blank[None], label[None]), *lens)
    for lattice, shares in ((blank, found.stay[0]), (label, found.move[0])):
        for cell in (lattice > -torch.inf).nonzero().tolist():
            step = torch.zeros_like(lattice)
            step[tuple(cell)] = 1e-6
            arcs = Arcs(*((x + step if x is lattice else x)[None] for x in (blank, label)))
            change = path_sums(arcs, *lens, False).nll[cell[0]] - found.nll[cell[0]]
            torch.testing.assert_close(-change / 1e-6, shares[tuple(cell)], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_padding_changes_nothing(durations):
    parts = make_parts(durations)
    together = loss_of(parts, durations=durations)
    for b, (t, u) in enumerate(zip(LENS.tolist(), TOKEN_LENS.tolist(), strict=True)):
        one = [parts[0][b : b + 1, :t], parts[1][b : b + 1, : u + 1], *parts[2:]]
        targets = (LENS[b : b + 1], TOKENS[b : b + 1, :u], TOKEN_LENS[b : b + 1])
        torch.testing.assert_close(loss_of(one, *targets, durations=durations)[0], together[b])
    grads = torch.autograd.grad(together[1], parts[:2])
    assert grads[0][1, 2:].abs().max() == 0
    assert grads[1][1, 1:].abs().max() == 0
    assert grads[0][0].abs().max() == 0


def test_chunks_of_any_size_drop_the_same_values():
    parts = make_parts()

    def dropped(*parts, **options):
        torch.manual_seed(3)
        return loss_of(parts, activation="tanh", dropout=0.5, **options)

    torch.testing.assert_close(dropped(*parts), dropped(*parts, max_values=30))
    assert not torch.allclose(dropped(*parts), loss_of(parts, activation="tanh"))
    assert torch.autograd.gradcheck(dropped, parts, fast_mode=True)


def test_dropout_keeps_its_share_and_the_mean():
    scale = dropout_scale(torch.arange(1000), 65, 0.3, seed=7)
    assert scale.shape == (1000, 65)
    assert scale.unique().tolist() == pytest.approx([0, 1 / 0.7], rel=1e-4)
    kept = (scale > 0).double()
    assert kept.mean() == pytest.approx(0.7, abs=0.01)
    assert kept.mean(0).sub(0.7).abs().max() < 0.06
    for shifted in (kept.roll(1, 0), kept.roll(1, 1)):  # neighbours know nothing of each other
        assert (kept * shifted).mean() == pytest.approx(0.49, abs=0.01)
    assert not torch.equal(scale, dropout_scale(torch.arange(1000), 65, 0.3, seed=8))


def test_foreign_ids_are_forbidden_utterance_by_utterance():
    parts = make_parts()
    forbidden = torch.zeros(B, V, dtype=torch.float64)
    forbidden[0, 5] = forbidden[3, 1] = -1e4
    found = loss_of(parts, forbidden=forbidden)
    plain = loss_of(parts)
    assert not torch.isclose(found[3], plain[3])
    torch.testing.assert_close(found[1:3], plain[1:3])
    rest = [parts[0][3:], parts[1][3:], *(x[torch.tensor([0, 2, 3, 4, 5])] for x in parts[2:])]
    wanted = loss_of(rest, LENS[3:], torch.tensor([[1, 0, 0]]), TOKEN_LENS[3:])
    torch.testing.assert_close(found[3:], wanted)


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_utterance_without_frames_counts_nothing(durations):
    parts = make_parts(durations)
    loss = loss_of(parts, torch.tensor([5, 0, 1, 3]), durations=durations)
    assert loss[1] == 0
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss.sum(), parts))


def test_batch_without_a_cell_has_no_gradient():
    parts = make_parts()
    loss = loss_of(parts, torch.zeros(B, dtype=torch.int64))
    assert loss.tolist() == [0] * B
    assert all(grad.abs().max() == 0 for grad in torch.autograd.grad(loss.sum(), parts))


def test_tokens_without_columns_are_all_blanks():
    parts = make_parts()
    found = loss_of(
        [parts[0], parts[1][:, :1], *parts[2:]], LENS, TOKENS[:, :0], torch.zeros_like(TOKEN_LENS)
    )
    blanks = all_log_probs(parts)[0][:, :, 0, -1]
    torch.testing.assert_close(found[0], -blanks[0].sum())
    torch.testing.assert_close(found[2], -blanks[2, 0])


def test_reductions():
    parts = make_parts()
    each = loss_of(parts)
    assert loss_of(parts, reduction="sum") == each.sum()
    assert loss_of(parts, reduction="mean_batch") == each.mean()
    assert loss_of(parts, reduction="mean_volume") == each.sum() / 6


def test_only_what_learns_gets_a_gradient():
    parts = make_parts(TDT)
    full = torch.autograd.grad(loss_of(parts, durations=TDT).sum(), parts)
    for learning in ([0], [1, 3], [2]):
        own = [x.detach().requires_grad_(i in learning) for i, x in enumerate(parts)]
        loss_of(own, durations=TDT).sum().backward()
        for i, (x, wanted) in enumerate(zip(own, full, strict=True)):
            if i in learning:
                torch.testing.assert_close(x.grad, wanted)
            else:
                assert x.grad is None


def test_nothing_is_kept_where_nothing_learns():
    parts = make_parts()
    with torch.no_grad():
        loss = loss_of(parts)
    assert loss.grad_fn is None
    torch.testing.assert_close(loss, loss_of(parts))


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_half_precision_is_summed_in_single(durations):
    parts = [x.detach().bfloat16().requires_grad_() for x in make_parts(durations)]
    wide = [x.detach().float().requires_grad_() for x in parts]
    found, wanted = (loss_of(x, durations=durations) for x in (parts, wide))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)
    grads = torch.autograd.grad(found.sum(), parts)
    assert {grad.dtype for grad in grads} == {torch.bfloat16}
    for grad, full in zip(grads, torch.autograd.grad(wanted.sum(), wide), strict=True):
        torch.testing.assert_close(grad, full.bfloat16())


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_factors_in_half_precision_fill_up_the_output_and_stay_close(durations, monkeypatch):
    """As on the tensor cores of a GPU."""
    parts = [x.detach().float().requires_grad_() for x in make_parts(durations)]
    wanted = loss_of(parts, durations=durations)
    grads = torch.autograd.grad(wanted.sum(), parts)
    monkeypatch.setattr(joint_cells, "factor_dtype", lambda parts: torch.bfloat16)
    found = loss_of(parts, durations=durations)
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=0)
    for grad, full in zip(torch.autograd.grad(found.sum(), parts), grads, strict=True):
        assert grad.shape == full.shape
        assert (grad - full).norm() < 2e-2 * full.norm()


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_autocast_does_not_reach_inside(durations):
    parts = make_parts(durations, dtype=torch.float32)
    wanted = loss_of(parts, durations=durations)
    grads = torch.autograd.grad(wanted.sum(), parts)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_of(parts, durations=durations)
        assert torch.equal(found, wanted)
        assert all(map(torch.equal, torch.autograd.grad(found.sum(), parts), grads))


def test_single_precision_gradient_leaves_out_nothing_that_counts():
    torch.manual_seed(0)
    lens, tokens = torch.tensor([60, 60]), torch.randint(V - 1, (2, 25))
    parts = [torch.randn(*s, requires_grad=True) for s in ((2, 60, J), (2, 26, J), (V, J), (V,))]
    wide = [x.detach().double().requires_grad_() for x in parts]
    token_lens = torch.tensor([25, 25])
    found, wanted = (
        torch.autograd.grad(loss_of(x, lens, tokens, token_lens).sum(), x) for x in (parts, wide)
    )
    for grad, full in zip(found, wanted, strict=True):
        assert (grad - full).norm() < 2e-6 * full.norm()


@pytest.mark.parametrize("durations", [RNNT, TDT])
def test_long_improbable_utterances_stay_finite(durations):
    torch.manual_seed(0)
    encoder_part, label_part = torch.randn(1, 300, 4).requires_grad_(), torch.randn(1, 101, 4)
    output = torch.randn(V + len(durations), 4) * 10, torch.randn(V + len(durations))
    lens, tokens, token_lens = torch.tensor([300]), torch.randint(V - 1, (1, 100)), torch.tensor([100])
    settings = TransducerSettings(durations=durations)
    loss = transducer_loss(encoder_part, label_part, output, lens, tokens, token_lens, settings)
    loss.sum().backward()
    assert loss.item() > 500
    assert encoder_part.grad.isfinite().all()


def test_nan_is_not_hidden():
    parts = make_parts(dtype=torch.float32)
    with torch.no_grad():
        parts[0][0, 2] = torch.nan
    loss = loss_of(parts)
    assert loss.isnan().tolist() == [True, False, False, False]
    assert torch.autograd.grad(loss.sum(), parts)[0][0].isnan().any()


def test_full_tensor_is_never_held():
    width = 3000
    torch.manual_seed(0)
    parts = [torch.randn(*s) for s in ((2, 40, J), (2, 21, J), (width, J), (width,))]
    for part in parts:
        part.requires_grad_()
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            for x in found if isinstance(found, (tuple, list)) else [found]:
                if isinstance(x, torch.Tensor):
                    sizes.append(x.untyped_storage().nbytes() // x.element_size())
            return found

    with Sizes():
        lens, tokens, token_lens = torch.tensor([40, 40]), torch.zeros(2, 20).long(), torch.tensor([20, 20])
        loss = loss_of(parts, lens, tokens, token_lens, max_values=100 * (width + J))
        torch.autograd.grad(loss.sum(), parts)
    assert max(sizes) == 100 * width < 2 * 40 * 21 * width / 8


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"durations": (0,)}, "`durations` must be frames from 0 up, not all 0"),
        ({"durations": (-1, 1)}, "`durations` must be frames from 0 up"),
        ({"durations": (1, 1)}, "`durations` must be different"),
        ({"sigma": 0.1}, "`sigma` and `omega` belong to TDT"),
        ({"durations": (1,), "omega": 1.5}, "`omega` must be from 0 to 1, got 1.5"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and less than 1"),
        ({"activation": "gelu"}, "`activation` must be relu, tanh or sigmoid, got 'gelu'"),
        ({"max_values": 0}, "`max_values` must be 1 or more, got 0"),
        ({"reduction": "mean"}, "`reduction` must be none, mean_batch, mean_volume or sum, got 'mean'"),
        ({"backend": "cuda"}, "`backend` must be auto, torch or triton, got 'cuda'"),
    ],
)
def test_bad_settings_are_named(settings, wanted):
    with pytest.raises(ValueError, match=wanted):
        loss_of(make_parts(), **settings)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"lens": LENS + 1}, "`encoder_out_lens` must be at most 5, the frames there are, got 6"),
        ({"token_lens": TOKEN_LENS + 1}, "`token_lens` must be at most 3, the tokens there are, got 4"),
        ({"tokens": TOKENS + 1}, "`tokens` must be ids from 0 to 4, below the blank, got 5"),
        ({"tokens": TOKENS - 1}, "`tokens` must be ids from 0 to 4, below the blank, got -1"),
        (
            {"tokens": TOKENS[:, :2]},
            r"`label_part` must be \(4, 3, 5\), one more than the tokens, got \(4, 4, 5\)",
        ),
    ],
)
def test_targets_that_do_not_fit_are_named(change, wanted):
    with pytest.raises(ValueError, match=wanted):
        loss_of(make_parts(), **change)


def test_output_of_another_width_is_named():
    parts = make_parts()
    with pytest.raises(ValueError, match=r"`output` must be a weight \(V, 5\) and a bias \(V,\), got"):
        loss_of([*parts[:2], parts[2][:, :3], parts[3]])
