import math

import pytest
import torch

from maya_encoder.attention import (
    RelPositionAttention,
    relative_positions,
    score_mask,
    shift_to_pairs,
)
from maya_encoder.lengths import valid_mask


def make_attention(**settings):
    torch.manual_seed(0)
    attention = RelPositionAttention(8, 2, **settings)
    torch.nn.init.normal_(attention.pos_bias_u)
    torch.nn.init.normal_(attention.pos_bias_v)
    return attention


def attention_by_hand(attention, x):
    """One utterance (T, D), pair of frames by pair of frames."""
    frames, heads = len(x), []
    q, k, v = (attention.get_submodule(f"linear_{name}")(x).view(frames, 2, 4) for name in "qkv")
    for head in range(2):
        scores = torch.zeros(frames, frames)
        for i in range(frames):
            for j in range(frames):
                angles = (i - j) * 10000.0 ** (-torch.arange(0, 8, 2) / 8)
                position = torch.stack([angles.sin(), angles.cos()], -1).flatten()
                p = attention.linear_pos(position).view(2, 4)[head]
                content = (q[i, head] + attention.pos_bias_u[head]) @ k[j, head]
                scores[i, j] = content + (q[i, head] + attention.pos_bias_v[head]) @ p
        heads.append((scores / math.sqrt(4)).softmax(-1) @ v[:, head])
    return attention.linear_out(torch.cat(heads, -1))


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_attention_equals_the_formula(num_frames):
    attention = make_attention()
    x = torch.randn(2, num_frames, 8)
    out = attention(x, relative_positions(num_frames, 8, x.device))
    for row, expected in zip(out, x, strict=True):
        torch.testing.assert_close(row, attention_by_hand(attention, expected))


def test_shift_brings_each_distance_to_its_pair():
    num_frames = 4
    distances = torch.arange(num_frames - 1, -num_frames - 1, -1).expand(num_frames, -1).contiguous()
    expected = torch.arange(num_frames)[:, None] - torch.arange(num_frames)
    assert torch.equal(shift_to_pairs(distances), expected)


def test_shift_is_a_view():
    scores = torch.zeros(2, 3, 6)
    assert shift_to_pairs(scores).untyped_storage().data_ptr() == scores.untyped_storage().data_ptr()


def test_masked_keys_have_no_influence():
    attention = make_attention()
    x, lens = torch.randn(2, 6, 8), torch.tensor([6, 4])
    out = attention(x, relative_positions(6, 8, x.device), score_mask(valid_mask(lens, 6)))
    alone = attention(x[1:, :4], relative_positions(4, 8, x.device))
    torch.testing.assert_close(out[1, :4], alone[0])


def test_an_utterance_without_frames_stays_finite():
    attention = make_attention()
    mask = score_mask(valid_mask(torch.tensor([0]), 3))
    assert (
        attention(torch.randn(1, 3, 8), relative_positions(3, 8, torch.device("cpu")), mask).isfinite().all()
    )


def test_positions_and_their_biases_learn():
    attention = make_attention()
    attention(torch.randn(2, 5, 8), relative_positions(5, 8, torch.device("cpu"))).sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert attention.linear_pos.weight.grad.abs().max() > 0
    assert attention.pos_bias_v.grad.abs().max() > 0


def test_gradient_is_exact():
    attention = make_attention().double()
    positions = relative_positions(3, 8, torch.device("cpu")).double()
    x = torch.randn(1, 3, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attention(x, positions), x)


def test_head_count_must_divide_the_width():
    with pytest.raises(ValueError, match="`hidden_size` must be a multiple of num_heads=3, got 8"):
        RelPositionAttention(8, 3)
