import math

import pytest
import torch

from maya_encoder.attention import (
    FullAttention,
    RelPositionAttention,
    hidden_pairs,
    relative_positions,
    shift_to_pairs,
)
from maya_encoder.layout import lay_out

CPU = torch.device("cpu")


def make_attention(**settings):
    torch.manual_seed(0)
    attention = RelPositionAttention(8, 2, **settings)
    torch.nn.init.normal_(attention.pos_bias_u)
    torch.nn.init.normal_(attention.pos_bias_v)
    return attention


def attend(attention, x, lens=None, hidden=None):
    """Frames (B, T, D) to frames, zero behind each utterance."""
    layout = lay_out(torch.full((len(x),), x.shape[1]) if lens is None else torch.tensor(lens), x.shape[1])
    if layout.valid is not None:
        padding = ~layout.valid[:, None, None]
        hidden = padding if hidden is None else hidden | padding
    positions = relative_positions(x.shape[1] - 1, -x.shape[1], 8, CPU).to(x.dtype)
    return layout.frames(attention(layout.rows(x), layout, FullAttention(positions, hidden)))


def attention_by_hand(attention, x, sees=lambda i, j: True):
    """One utterance (T, D), pair of frames by pair of frames."""
    frames, heads = len(x), []
    q, k, v = (attention.get_submodule(f"linear_{name}")(x).view(frames, 2, 4) for name in "qkv")
    for head in range(2):
        scores = torch.full((frames, frames), -math.inf)
        for i in range(frames):
            for j in range(frames):
                if not sees(i, j):
                    continue
                angles = (i - j) * 10000.0 ** (-torch.arange(0, 8, 2) / 8)
                position = torch.stack([angles.sin(), angles.cos()], -1).flatten()
                p = attention.linear_pos(position).view(2, 4)[head]
                content = (q[i, head] + attention.pos_bias_u[head]) @ k[j, head]
                scores[i, j] = content + (q[i, head] + attention.pos_bias_v[head]) @ p
        heads.append((scores / math.sqrt(4)).softmax(-1) @ v[:, head])
    return attention.linear_out(torch.cat(heads, -1))


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_attention_equals_the_formula(num_frames):
    attention, x = make_attention(), torch.randn(2, num_frames, 8)
    for row, expected in zip(attend(attention, x), x, strict=True):
        torch.testing.assert_close(row, attention_by_hand(attention, expected))


@pytest.mark.parametrize(
    ("context", "style", "sees"),
    [
        ((2, 1), "regular", lambda i, j: -1 <= i - j <= 2),
        ((-1, 0), "regular", lambda i, j: j <= i),
        ((1, -1), "regular", lambda i, j: j >= i - 1),
        ((4, 1), "chunked_limited", lambda i, j: 0 <= i // 2 - j // 2 <= 2),
        ((-1, 2), "chunked_limited", lambda i, j: j // 3 <= i // 3),
        ((1, -1), "chunked_limited", lambda i, j: j >= i - 1),
    ],
)
def test_a_limited_context_is_what_a_frame_sees(context, style, sees):
    attention, x = make_attention(), torch.randn(1, 9, 8)
    out = attend(attention, x, hidden=hidden_pairs(9, context, style, CPU))
    torch.testing.assert_close(out[0], attention_by_hand(attention, x[0], sees))


@pytest.mark.parametrize("style", ["regular", "chunked_limited"])
def test_no_limits_hide_nothing(style):
    assert hidden_pairs(5, (-1, -1), style, CPU) is None


def test_shift_brings_each_distance_to_its_pair():
    num_frames = 4
    distances = torch.arange(num_frames - 1, -num_frames - 1, -1).expand(num_frames, -1).contiguous()
    expected = torch.arange(num_frames)[:, None] - torch.arange(num_frames)
    assert torch.equal(shift_to_pairs(distances), expected)


def test_shift_is_a_view():
    scores = torch.zeros(2, 3, 6)
    assert shift_to_pairs(scores).untyped_storage().data_ptr() == scores.untyped_storage().data_ptr()


@pytest.mark.parametrize("lens", [[26, 25], [26, 7]], ids=["masked", "left out"])
@pytest.mark.parametrize("context", [(-1, -1), (3, 2)])
def test_padding_has_no_influence(lens, context):
    attention, x = make_attention(), torch.randn(2, 26, 8)
    x[1, lens[1] :] = 100.0
    hidden = hidden_pairs(26, context, "regular", CPU)
    out = attend(attention, x, lens, hidden)
    short = None if hidden is None else hidden[: lens[1], : lens[1]]
    torch.testing.assert_close(out[1, : lens[1]], attend(attention, x[1:, : lens[1]], hidden=short)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_that_see_nothing_stay_finite(dtype):
    attention, x = make_attention().to(dtype), torch.randn(2, 3, 8, dtype=dtype)
    hidden = torch.ones(3, 3, dtype=torch.bool)
    out = attend(attention, x.requires_grad_(), hidden=hidden)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    with torch.inference_mode():  # another kernel
        assert attend(attention, x, hidden=hidden).isfinite().all()


def test_autocast_is_not_undone_by_the_position_biases(monkeypatch):
    attention, seen = make_attention(), []
    attend_heads = FullAttention.attend
    monkeypatch.setattr(
        FullAttention,
        "attend",
        lambda self, heads, *rest: seen.extend(heads) or attend_heads(self, heads, *rest),
    )
    with torch.autocast("cpu", torch.bfloat16):
        attend(attention, torch.randn(2, 3, 8))
    assert {part.dtype for part in seen} == {torch.bfloat16}


def test_positions_and_their_biases_learn():
    attention = make_attention()
    attend(attention, torch.randn(2, 5, 8)).sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert attention.linear_pos.weight.grad.abs().max() > 0
    assert attention.pos_bias_v.grad.abs().max() > 0


@pytest.mark.parametrize("lens", [None, [3, 1]])
def test_gradient_is_exact(lens):
    attention = make_attention().double()
    x = torch.randn(2, 3, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attend(attention, x, lens), x)


def test_head_count_must_divide_the_width():
    with pytest.raises(ValueError, match="`hidden_size` must be a multiple of num_heads=3, got 8"):
        RelPositionAttention(8, 3)
