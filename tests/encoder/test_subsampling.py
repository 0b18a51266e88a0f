import pytest
import torch

from maya_encoder.subsampling import (
    PatchConv2d,
    Subsampling,
    depthwise_striding,
    full_striding,
    subsampled_lens,
)

STAGES = {"dw_striding": depthwise_striding, "striding": full_striding}


def make_subsampling(kind="dw_striding", num_stages=2, masked=True):
    torch.manual_seed(0)
    return Subsampling(STAGES[kind](num_stages, 6), 10, 16, masked)


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("num_stages", [2, 3])
def test_lengths_and_shapes_agree_for_every_number_of_frames(kind, num_stages):
    subsampling = make_subsampling(kind, num_stages).eval()
    for num_frames in range(1, 20):
        lens = torch.tensor([num_frames])
        out, out_lens = subsampling(torch.randn(1, num_frames, 10), lens)
        assert out.shape == (1, out_lens.item(), 16)
        assert torch.equal(out_lens, subsampled_lens(lens, subsampling.factor))


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("garbage", [0.0, 1e3])
def test_padding_never_changes_a_valid_frame(kind, garbage):
    subsampling = make_subsampling(kind)
    features = torch.randn(2, 31, 10)
    features[1, 17:] = garbage
    out, lens = subsampling(features, torch.tensor([31, 17]))
    alone, _ = subsampling(features[1:, :17], torch.tensor([17]))
    torch.testing.assert_close(out[1, : lens[1]], alone[0])


def test_unmasked_convolutions_do_see_padding():
    subsampling = make_subsampling(masked=False)
    features = torch.randn(1, 17, 10)
    padded = torch.nn.functional.pad(features, (0, 0, 0, 8))
    lens = torch.tensor([17])
    assert not torch.allclose(subsampling(padded, lens)[0][:, :5], subsampling(features, lens)[0])


def test_names_are_those_of_nemo_checkpoints():
    shapes = {name: tuple(p.shape) for name, p in make_subsampling(num_stages=3).named_parameters()}
    assert shapes["conv.0.weight"] == (6, 1, 3, 3)
    assert shapes["conv.2.weight"] == shapes["conv.5.weight"] == (6, 1, 3, 3)
    assert shapes["conv.3.weight"] == shapes["conv.6.weight"] == (6, 6, 1, 1)
    assert shapes["out.weight"] == (16, 6 * 2)


def test_patches_equal_the_convolution():
    torch.manual_seed(0)
    conv, x = PatchConv2d(5), torch.randn(2, 1, 13, 10)
    torch.testing.assert_close(conv(x), conv.eval()(x))
