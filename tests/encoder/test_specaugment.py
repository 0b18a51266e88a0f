import pytest
import torch

from maya_encoder.specaugment import SpecAugment


def augmented(augment, lens, num_bins=40, seed=0):
    features = torch.ones(len(lens), max(lens), num_bins)
    return augment(features, torch.tensor(lens), torch.Generator().manual_seed(seed))


def test_frequency_masks_cover_whole_bins_and_stay_below_the_width():
    out = augmented(SpecAugment(1, 10, 0), [50] * 64)
    hidden = (out == 0).sum(2)  # (B, T)
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    assert 6 <= hidden.max() < 10


def test_time_masks_stay_inside_the_utterance_and_below_the_width():
    lens = [100, 60, 20] * 20
    out = augmented(SpecAugment(0, 10, 1, 0.2), lens)
    hidden = (out == 0).all(2)  # (B, T)
    for row, length in zip(hidden, lens, strict=True):
        assert not row[length:].any()
        assert row.sum() < 0.2 * length
    assert hidden.any()


def test_utterances_get_masks_of_their_own():
    out = augmented(SpecAugment(1, 20, 1, 0.5), [50] * 8)
    assert len({tuple(row.flatten().tolist()) for row in out}) == 8


def test_generator_decides():
    augment = SpecAugment()
    assert torch.equal(augmented(augment, [90, 40]), augmented(augment, [90, 40]))
    assert not torch.equal(augmented(augment, [90, 40]), augmented(augment, [90, 40], seed=1))


def test_input_is_left_alone_and_empty_utterances_pass():
    features = torch.ones(2, 10, 4)
    out = SpecAugment(2, 27, 10, 0.5)(features, torch.tensor([10, 0]))
    assert features.min() == 1
    assert out.shape == features.shape


def test_no_masks_change_nothing():
    assert augmented(SpecAugment(0, 27, 0), [30]).min() == 1


def test_bad_width_is_named():
    with pytest.raises(ValueError, match="`time_width` must be between 0 and 1, got 5"):
        SpecAugment(time_width=5)
