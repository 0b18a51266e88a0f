import pytest
import torch
from torch.nn import functional as F

from maya_encoder.attention import FullAttention, RelPositionAttention, relative_positions
from maya_encoder.conformer import ConformerBlock, Convolution, FeedForward, batch_norm_of_valid
from maya_encoder.layout import Layout, lay_out

MASKED, LEFT_OUT = [26, 25], [26, 9]


def make_block(dropout=0.0, norm="batch_norm"):
    torch.manual_seed(0)
    halves = (FeedForward(8, 4, dropout), FeedForward(8, 4, dropout))
    return ConformerBlock(RelPositionAttention(8, 2, dropout), Convolution(8, 5, norm), halves, dropout)


def run(block, x, lens=None):
    """Frames (B, T, 8) to frames, zero behind each utterance."""
    layout = lay_out(torch.full((len(x),), x.shape[1]) if lens is None else torch.tensor(lens), x.shape[1])
    hidden = None if layout.valid is None else ~layout.valid[:, None, None]
    scope = FullAttention(relative_positions(x.shape[1] - 1, -x.shape[1], 8, x.device), hidden)
    return layout.frames(block(layout.rows(x), layout, scope))


def convolve(conv, x, lens=None):
    layout = lay_out(torch.full((len(x),), x.shape[1]) if lens is None else torch.tensor(lens), x.shape[1])
    return layout.frames(conv(layout.rows(x), layout))


def test_convolution_equals_the_layers_it_is_named_after():
    torch.manual_seed(0)
    conv, x = Convolution(6, 5).eval(), torch.randn(2, 9, 6)
    conv.batch_norm.running_mean.normal_()
    y = F.glu(conv.pointwise_conv1(x.transpose(1, 2)), dim=1)
    y = conv.pointwise_conv2(F.silu(conv.batch_norm(conv.depthwise_conv(y))))
    torch.testing.assert_close(convolve(conv, x), y.transpose(1, 2))


@pytest.mark.parametrize("lens", [[26, 26], MASKED, LEFT_OUT], ids=["full", "masked", "left out"])
def test_batch_norm_learns_from_real_frames_alone(lens):
    torch.manual_seed(0)
    conv, x = Convolution(6, 5), torch.randn(2, 26, 6)
    x[1, lens[1] :] = 100.0
    alone = [x[i : i + 1, :length].transpose(1, 2) for i, length in enumerate(lens)]
    frames = [conv.depthwise_conv(F.glu(conv.pointwise_conv1(row), dim=1)) for row in alone]
    expected = torch.nn.BatchNorm1d(6)
    normed = expected(torch.cat(frames, dim=2))  # (1, 6, real frames)
    out = convolve(conv, x, lens)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(conv.batch_norm.get_buffer(name), expected.get_buffer(name))
    first = conv.pointwise_conv2(F.silu(normed[..., : lens[0]]))[0].T
    torch.testing.assert_close(out[0, : lens[0]], first)


def test_batch_norm_with_a_mask_has_the_gradient_of_the_real_rows():
    torch.manual_seed(0)
    x, valid = torch.randn(9, 4, dtype=torch.double), torch.arange(9) < 6
    ours, theirs = torch.nn.BatchNorm1d(4).double(), torch.nn.BatchNorm1d(4).double()
    masked, picked = x.clone().requires_grad_(), x[valid].clone().requires_grad_()
    batch_norm_of_valid(ours, masked, valid)[valid].pow(3).sum().backward()
    theirs(picked).pow(3).sum().backward()
    torch.testing.assert_close(masked.grad[valid].float(), picked.grad.float())
    torch.testing.assert_close(ours.weight.grad.float(), theirs.weight.grad.float())


def test_a_norm_that_is_shared_between_processes_gets_the_real_rows():
    class Shared(torch.nn.Module):
        def forward(self, rows):
            self.seen = len(rows)
            return rows + 1

    norm, x, valid = Shared(), torch.zeros(4, 2), torch.tensor([True, False, True, True])
    out = batch_norm_of_valid(norm, x, valid)
    assert norm.seen == 3
    assert torch.equal(out[valid], x[valid] + 1)


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm"])
@pytest.mark.parametrize("lens", [MASKED, LEFT_OUT], ids=["masked", "left out"])
def test_padding_never_changes_a_valid_frame(norm, lens):
    block, x = make_block(norm=norm).eval(), torch.randn(2, 26, 8)
    x[1, lens[1] :] = 100.0
    alone = run(block, x[1:, : lens[1]])
    torch.testing.assert_close(run(block, x, lens)[1, : lens[1]], alone[0])


def test_training_does_not_depend_on_how_padding_is_kept_out():
    lens, x = torch.tensor(LEFT_OUT), torch.randn(2, 26, 8)
    valid = torch.arange(26) < lens[:, None]
    left_out, masked = lay_out(lens, 26), Layout(2, 26, valid)
    grads = []
    for layout in (left_out, masked):
        block = make_block()
        hidden = None if layout.valid is None else ~valid[:, None, None]
        scope = FullAttention(relative_positions(25, -26, 8, x.device), hidden)
        layout.frames(block(layout.rows(x), layout, scope)).square().sum().backward()
        grads.append([parameter.grad for parameter in block.parameters()])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_block_is_the_sum_of_its_modules():
    block, x = make_block().eval(), torch.randn(5, 8)
    layout = Layout(1, 5)
    scope = FullAttention(relative_positions(4, -5, 8, x.device))
    y = x + 0.5 * block.feed_forward1(block.norm_feed_forward1(x))
    y = y + block.self_attn(block.norm_self_att(y), layout, scope)
    y = y + block.conv(block.norm_conv(y), layout)
    y = y + 0.5 * block.feed_forward2(block.norm_feed_forward2(y))
    torch.testing.assert_close(block(x, layout, scope), block.norm_out(y))


def test_inference_leaves_its_input_alone():
    block, x = make_block().eval(), torch.randn(1, 5, 8)
    before = x.clone()
    with torch.inference_mode():
        fast = run(block, x)
    assert torch.equal(x, before)
    torch.testing.assert_close(fast, run(block, x))


def test_dropout_only_in_training():
    block, x = make_block(0.5), torch.randn(1, 5, 8)
    assert not torch.equal(run(block, x), run(block, x))
    block.eval()
    assert torch.equal(run(block, x), run(block, x))


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="`conv_kernel` must be odd, got 4"):
        Convolution(8, 4)
