import pytest
import torch

from maya_encoder.layout import lay_out
from maya_encoder.subsampling import (
    Subsampling,
    depthwise_striding,
    full_striding,
    subsampled_lens,
)

STAGES = {"dw_striding": depthwise_striding, "striding": full_striding}


def make_subsampling(kind="dw_striding", num_stages=2, masked=True, chunk=0):
    torch.manual_seed(0)
    return Subsampling(STAGES[kind](num_stages, 6), 10, 16, masked, chunk)


def run(subsampling, features, lens):
    """Frames (B, T', D) and their lengths."""
    out_lens = subsampled_lens(torch.tensor(lens), subsampling.factor)
    layout = lay_out(out_lens, -(-features.shape[1] // subsampling.factor))
    return layout.frames(subsampling(features, torch.tensor(lens), layout)), out_lens


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("num_stages", [2, 3])
def test_lengths_and_shapes_agree_for_every_number_of_frames(kind, num_stages):
    subsampling = make_subsampling(kind, num_stages).eval()
    for num_frames in range(1, 20):
        out, out_lens = run(subsampling, torch.randn(1, num_frames, 10), [num_frames])
        assert out.shape == (1, out_lens.item(), 16)


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("length", [97, 17, 0], ids=["masked", "left out", "empty"])
def test_padding_never_changes_a_valid_frame(kind, length):
    subsampling, features = make_subsampling(kind), torch.randn(2, 101, 10)
    features[1, length:] = 1e3
    out, lens = run(subsampling, features, [101, length])
    assert out.isfinite().all()
    if length:
        alone, _ = run(subsampling, features[1:, :length], [length])
        torch.testing.assert_close(out[1, : lens[1]], alone[0])


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("num_stages", [1, 2, 3])
@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("length", [57, 31], ids=["masked", "left out"])
def test_chunks_change_nothing(kind, masked, num_stages, chunk, length):
    features, lens = torch.randn(2, 59, 10), [59, length]
    whole = make_subsampling(kind, num_stages, masked, chunk=-1)
    parts = make_subsampling(kind, num_stages, masked, chunk)
    expected, _ = run(whole, features, lens)
    out, _ = run(parts, features, lens)
    torch.testing.assert_close(out, expected)
    out.sum().backward()
    expected.sum().backward()
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-3, rtol=1e-4)


def test_unmasked_convolutions_do_see_padding():
    subsampling, features = make_subsampling(masked=False), torch.randn(1, 17, 10)
    padded = torch.nn.functional.pad(features, (0, 0, 0, 8))
    alone, _ = run(subsampling, features, [17])
    assert not torch.allclose(run(subsampling, padded, [17])[0][:, :5], alone)


def test_names_are_those_of_nemo_checkpoints():
    shapes = {name: tuple(p.shape) for name, p in make_subsampling(num_stages=3).named_parameters()}
    assert shapes["conv.0.weight"] == (6, 1, 3, 3)
    assert shapes["conv.2.weight"] == shapes["conv.5.weight"] == (6, 1, 3, 3)
    assert shapes["conv.3.weight"] == shapes["conv.6.weight"] == (6, 6, 1, 1)
    assert shapes["out.weight"] == (16, 6 * 2)


@pytest.mark.parametrize("kind", STAGES)
def test_gradients_are_laid_out_like_their_parameters(kind):
    """Buckets of data-parallel training are; others would be copied with a warning."""
    subsampling = make_subsampling(kind, num_stages=3)
    run(subsampling, torch.randn(1, 31, 10), [31])[0].sum().backward()
    for name, parameter in subsampling.named_parameters():
        assert parameter.grad.stride() == parameter.stride(), name
