import torch

from maya_encoder.lengths import valid_mask


def test_valid_mask_is_true_on_real_frames():
    assert valid_mask(torch.tensor([2, 0, 3]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
