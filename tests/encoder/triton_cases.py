"""Triton's kernels against plain torch; `test_triton_loss.py` runs this file in Triton's interpreter.

On a machine with a GPU: `pytest tests/encoder/triton_cases.py` runs them compiled.
"""

import pytest
import torch

from maya_encoder.heads import triton_rows
from maya_encoder.heads.cell_rows import Rows
from maya_encoder.heads.kernels import TORCH, kernels_for
from maya_encoder.heads.lattice import Arcs
from maya_encoder.heads.transducer_loss import TransducerSettings, transducer_loss

B, T, U, J, V = 4, 4, 2, 4, 9
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LENS = torch.tensor([4, 2, 3, 0], device=DEVICE)
TOKENS = torch.tensor([[0, 4], [1, -1], [-1, -1], [3, 8]], device=DEVICE)
TOKEN_LENS = torch.tensor([2, 1, 0, 1], device=DEVICE)


def make_parts(durations=(), width=V):
    torch.manual_seed(0)
    rows = width + len(durations)
    shapes = [(B, T, J), (B, U + 1, J), (rows, J), (rows,)]
    return [torch.randn(*shape, device=DEVICE).requires_grad_() for shape in shapes]


def both(parts, **options):
    weights = torch.tensor([1.0, -2.0, 0.5, 1.0], device=DEVICE)
    for backend in ("triton", "torch"):
        settings = TransducerSettings(**options, backend=backend)
        loss = transducer_loss(*parts[:2], parts[2:], LENS, TOKENS, TOKEN_LENS, settings)
        yield loss, torch.autograd.grad((loss * weights).sum(), parts)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fastemit_lambda": 0.1, "max_values": 60},
        {"durations": (0, 1, 2), "sigma": 0.1, "omega": 0.2},
    ],
)
def test_loss_and_gradient_are_those_of_plain_torch(options):
    (loss, grads), (wanted, wanted_grads) = both(make_parts(options.get("durations", ())), **options)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(grads, wanted_grads, rtol=1e-4, atol=1e-5)


def test_forbidden_ids_and_rows_wider_than_a_program(monkeypatch):
    monkeypatch.setattr(triton_rows, "WIDEST", 4)
    forbidden = torch.zeros(B, V, device=DEVICE)
    forbidden[0, 5] = forbidden[1, :3] = -1e4
    (loss, grads), (wanted, wanted_grads) = both(make_parts(), forbidden=forbidden)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(grads, wanted_grads, rtol=1e-4, atol=1e-5)


def lattices(*shape):
    torch.manual_seed(0)
    return torch.randn(*shape, device=DEVICE).log_softmax(0) * 5


@pytest.mark.parametrize(("stay", "move"), [((1,), (0,)), ((1, 2), (0, 1, 2)), ((2,), (3, 1))])
def test_shares_are_those_of_plain_torch(stay, move):
    own = (torch.arange(T, device=DEVICE)[:, None] < LENS[:, None, None]) & (
        torch.arange(U + 1, device=DEVICE) <= TOKEN_LENS[:, None, None]
    )
    writes = own & (torch.arange(U + 1, device=DEVICE) < TOKEN_LENS[:, None, None])
    arcs = Arcs(
        lattices(len(stay), B, T, U + 1).masked_fill(~own, -torch.inf),
        lattices(len(move), B, T, U + 1).masked_fill(~writes, -torch.inf),
        stay,
        move,
    )
    found = kernels_for(DEVICE, "triton").path_sums(arcs, LENS, TOKEN_LENS, True)
    wanted = TORCH.path_sums(arcs, LENS, TOKEN_LENS, True)
    torch.testing.assert_close(found, wanted)
    alone = kernels_for(DEVICE, "triton").path_sums(arcs, LENS, TOKEN_LENS, False)
    torch.testing.assert_close(alone.nll, wanted.nll)
    assert alone.stay.numel() == 0


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_is_not_hidden():
    parts = make_parts()
    with torch.no_grad():
        parts[0][0, 2] = torch.nan
    settings = TransducerSettings(backend="triton")
    loss = transducer_loss(*parts[:2], parts[2:], LENS, TOKENS, TOKEN_LENS, settings)
    assert loss.isnan().tolist() == [True, False, False, False]


def test_gradient_in_half_precision_is_the_rounded_one():
    rows = TORCH, kernels_for(DEVICE, "triton")
    parts = make_parts()
    token, utterance = torch.tensor([0, 4], device=DEVICE), torch.tensor([0, 0], device=DEVICE)
    shares = torch.tensor([0.5, 0.1], device=DEVICE), torch.tensor([0.0, 0.3], device=DEVICE)
    found = []
    for kernels in rows:
        own = Rows(parts[3].detach()[None], utterance, token, V - 1, torch.bfloat16)
        logits = parts[2].detach()[:2, :1] * torch.arange(V, device=DEVICE)
        log_sum = kernels.score_rows(logits.clone(), own)[0]
        found.append(kernels.gradient_rows(logits, own, log_sum, *shares))
    assert found[1].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], found[1])
