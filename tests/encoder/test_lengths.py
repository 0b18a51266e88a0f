import torch

from maya_encoder.lengths import padding_mask, valid_mask


def test_valid_mask_is_true_on_real_frames():
    assert valid_mask(torch.tensor([2, 0, 3]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]


def test_no_padding_needs_no_mask():
    assert padding_mask(torch.tensor([3, 3]), 3) is None


def test_one_shorter_utterance_needs_a_mask():
    lens = torch.tensor([3, 2])
    mask = padding_mask(lens, 3)
    assert mask is not None
    assert torch.equal(mask, valid_mask(lens, 3))
