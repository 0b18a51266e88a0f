import pytest
import torch

from maya_bridge.corruption import Corruption, close_gaps, corrupt_speech, swap_tokens

NONE = {"token_swap": 0.0, "frame_swap": 0.0, "frame_drop": 0.0}


def numbered(size, frames):
    return torch.arange(float(size * frames)).view(size, frames, 1)


def test_no_corruption_leaves_the_speech_alone():
    speech, lens = numbered(2, 5), torch.tensor([5, 3])

    out, out_lens = corrupt_speech(speech, lens, Corruption(**NONE), None)

    assert torch.equal(out_lens, lens)
    assert torch.equal(out[0], speech[0])
    assert torch.equal(out[1, :3], speech[1, :3])


def test_dropped_positions_close_up_and_the_first_stays():
    speech, lens = numbered(4, 200), torch.tensor([200, 150, 1, 0])

    out, out_lens = corrupt_speech(speech, lens, Corruption(**{**NONE, "frame_drop": 0.5}), None)

    assert 60 < out_lens[0] < 140
    assert out_lens[2:].tolist() == [1, 0]
    assert torch.equal(out[:3, 0], speech[:3, 0])
    assert (out[0, : out_lens[0], 0].diff() > 0).all()


def test_swapped_positions_come_from_the_valid_speech_of_the_batch():
    speech, lens = numbered(2, 300), torch.tensor([300, 200])

    out, out_lens = corrupt_speech(speech, lens, Corruption(**{**NONE, "frame_swap": 0.3}), None)

    assert torch.equal(out_lens, lens)
    changed = (out != speech)[0, :, 0].float().mean()
    assert 0.2 < changed < 0.4
    assert out[:, :200].max() < 500


def test_the_generator_decides():
    speech, lens = numbered(2, 50), torch.tensor([50, 40])
    first, second = (
        corrupt_speech(speech, lens, Corruption(frame_swap=0.3), torch.Generator().manual_seed(3))[0]
        for _ in range(2)
    )

    assert torch.equal(first, second)


def test_swapped_tokens_are_text():
    ids = torch.zeros(4, 500, dtype=torch.long)

    out = swap_tokens(ids, torch.tensor([7, 9]), 0.1, None)

    assert set(out.unique().tolist()) == {0, 7, 9}
    assert 0.07 < (out != 0).float().mean() < 0.13


def test_gaps_close_in_order():
    values, lens = close_gaps(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[False, True, False, True]]))

    assert values[0, :2].tolist() == [2, 4]
    assert lens.tolist() == [2]


def test_a_share_of_one_is_refused():
    with pytest.raises(ValueError, match="`frame_drop` must be at least 0 and below 1, got 1"):
        Corruption(frame_drop=1)
