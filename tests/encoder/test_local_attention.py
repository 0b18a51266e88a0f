import pytest
import torch

from maya_encoder import local_attention
from maya_encoder.attention import FullAttention, RelPositionAttention, hidden_pairs, relative_positions
from maya_encoder.layout import lay_out
from maya_encoder.local_attention import LocalAttention, shift_to_window

CPU = torch.device("cpu")


def make_attention():
    torch.manual_seed(0)
    attention = RelPositionAttention(8, 2)
    torch.nn.init.normal_(attention.pos_bias_u)
    torch.nn.init.normal_(attention.pos_bias_v)
    return attention


def attend_locally(attention, x, left, right, lens=None):
    layout = lay_out(torch.full((len(x),), x.shape[1]) if lens is None else torch.tensor(lens), x.shape[1])
    scope = LocalAttention(relative_positions(left, -right, 8, CPU).to(x.dtype), left, right, layout.valid)
    return layout.frames(attention(layout.rows(x), layout, scope))


def attend_in_a_band(attention, x, left, right):
    layout = lay_out(torch.full((len(x),), x.shape[1]), x.shape[1])
    hidden = hidden_pairs(x.shape[1], (left, right), "regular", CPU)
    scope = FullAttention(relative_positions(x.shape[1] - 1, -x.shape[1], 8, CPU), hidden)
    return layout.frames(attention(layout.rows(x), layout, scope))


WINDOWS = [(6, 6), (40, 3), (0, 9), (5, 0), (0, 0), (200, 200), (36, 37)]


@pytest.mark.parametrize("num_frames", [1, 2, 16, 37, 100])
@pytest.mark.parametrize(("left", "right"), WINDOWS)
def test_it_equals_full_attention_in_a_band(left, right, num_frames):
    attention, x = make_attention(), torch.randn(2, num_frames, 8)
    expected = attend_in_a_band(attention, x, left, right)
    torch.testing.assert_close(attend_locally(attention, x, left, right), expected)


@pytest.mark.parametrize("max_scores", [1, 2**12])
def test_it_does_not_depend_on_how_much_is_held_at_a_time(max_scores, monkeypatch):
    attention, x = make_attention(), torch.randn(2, 100, 8)
    expected = attend_locally(attention, x, 7, 4)
    monkeypatch.setattr(local_attention, "MAX_SCORES", max_scores)
    torch.testing.assert_close(attend_locally(attention, x, 7, 4), expected)


@pytest.mark.parametrize("lens", [[60, 58], [60, 21], [60, 0]], ids=["masked", "left out", "empty"])
def test_padding_has_no_influence(lens):
    attention, x = make_attention(), torch.randn(2, 60, 8)
    x[1, lens[1] :] = 100.0
    out = attend_locally(attention, x, 7, 4, lens)
    assert out.isfinite().all()
    if lens[1]:
        alone = attend_locally(attention, x[1:, : lens[1]], 7, 4)
        torch.testing.assert_close(out[1, : lens[1]], alone[0])


def test_gradient_is_exact(monkeypatch):
    monkeypatch.setattr(local_attention, "MIN_BLOCK", 2)
    attention = make_attention().double()
    x = torch.randn(1, 7, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attend_locally(attention, x, 2, 1), x)


def test_every_parameter_learns():
    attention = make_attention()
    attend_locally(attention, torch.randn(2, 40, 8), 6, 6).square().sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_every_row_of_the_window_begins_one_key_further():
    scores = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    shifted = shift_to_window(scores, 4)
    shown = torch.where(shifted < -1e30, 0.0, shifted)
    assert shown.tolist() == [[1, 2, 0, 0], [0, 3, 4, 0], [0, 0, 5, 6]]
