import pytest
import torch
from torch.nn import functional as F

from maya_encoder.attention import RelPositionAttention, relative_positions, score_mask
from maya_encoder.conformer import ConformerBlock, Convolution, FeedForward
from maya_encoder.lengths import valid_mask


def make_block(dropout=0.0, norm="batch_norm"):
    torch.manual_seed(0)
    halves = (FeedForward(8, 4, dropout), FeedForward(8, 4, dropout))
    return ConformerBlock(RelPositionAttention(8, 2, dropout), Convolution(8, 5, norm), halves, dropout)


def test_convolution_equals_the_layers_it_is_named_after():
    torch.manual_seed(0)
    conv, x = Convolution(6, 5).eval(), torch.randn(2, 9, 6)
    conv.batch_norm.running_mean.normal_()
    y = F.glu(conv.pointwise_conv1(x.transpose(1, 2)), dim=1)
    y = conv.pointwise_conv2(F.silu(conv.batch_norm(conv.depthwise_conv(y))))
    torch.testing.assert_close(conv(x), y.transpose(1, 2))


def test_batch_norm_learns_the_same_statistics_in_either_layout():
    torch.manual_seed(0)
    conv, x = Convolution(6, 5), torch.randn(2, 9, 6)
    expected = torch.nn.BatchNorm1d(6)
    conv(x)
    expected(conv.depthwise_conv(F.glu(conv.pointwise_conv1(x.transpose(1, 2)), dim=1)))
    torch.testing.assert_close(conv.batch_norm.running_mean, expected.running_mean)
    torch.testing.assert_close(conv.batch_norm.running_var, expected.running_var)


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm"])
def test_padding_never_changes_a_valid_frame(norm):
    block = make_block(norm=norm).eval()
    x, valid = torch.randn(2, 9, 8), valid_mask(torch.tensor([9, 5]), 9)
    out = block(x, relative_positions(9, 8, x.device), score_mask(valid), valid)
    alone = block(x[1:, :5], relative_positions(5, 8, x.device))
    torch.testing.assert_close(out[1, :5], alone[0])


def test_block_is_the_sum_of_its_modules():
    block, x, positions = (
        make_block().eval(),
        torch.randn(1, 5, 8),
        relative_positions(5, 8, torch.device("cpu")),
    )
    y = x + 0.5 * block.feed_forward1(block.norm_feed_forward1(x))
    y = y + block.self_attn(block.norm_self_att(y), positions)
    y = y + block.conv(block.norm_conv(y))
    y = y + 0.5 * block.feed_forward2(block.norm_feed_forward2(y))
    torch.testing.assert_close(block(x, positions), block.norm_out(y))


def test_dropout_only_in_training():
    block, x, positions = make_block(0.5), torch.randn(1, 5, 8), relative_positions(5, 8, torch.device("cpu"))
    assert not torch.equal(block(x, positions), block(x, positions))
    block.eval()
    assert torch.equal(block(x, positions), block(x, positions))


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="`conv_kernel` must be odd, got 4"):
        Convolution(8, 4)
