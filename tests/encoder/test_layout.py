import pytest
import torch

from maya_encoder.layout import Layout, lay_out


def test_no_padding_keeps_all_rows_and_needs_no_mask():
    assert lay_out(torch.tensor([3, 3]), 3) == Layout(2, 3)


def test_much_padding_is_left_out():
    assert lay_out(torch.tensor([30, 10]), 30).lens == (30, 10)


def test_little_padding_is_masked():
    layout = lay_out(torch.tensor([30, 29]), 30)
    assert layout.lens is None
    assert layout.valid.sum(1).tolist() == [30, 29]


def test_an_utterance_without_frames_is_masked():
    assert lay_out(torch.tensor([30, 0]), 30).lens is None


LAYOUTS = {
    "all rows": lay_out(torch.tensor([4, 4]), 4),
    "masked": lay_out(torch.tensor([26, 25]), 26),
    "left out": lay_out(torch.tensor([2, 4]), 5),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_frames_come_back_with_zeros_behind_each_utterance(layout):
    frames = torch.rand(2, layout.num_frames, 3) + 1
    back = layout.frames(layout.rows(frames))
    lens = layout.lens or [layout.num_frames] * 2 if layout.valid is None else layout.valid.sum(1).tolist()
    for row, expected, length in zip(back, frames, lens, strict=True):
        assert torch.equal(row[:length], expected[:length])
        assert not row[length:].any()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_blocks_join_to_what_they_were(layout):
    rows = layout.rows(torch.rand(2, layout.num_frames, 3))
    blocks = layout.blocks(rows)
    assert all(block.ndim == 3 for block in blocks)
    assert torch.equal(layout.join(blocks), rows)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_spread_gives_every_row_the_vector_of_its_utterance(layout):
    rows = layout.spread(torch.tensor([[1.0], [2.0]]))
    for value, block in enumerate(torch.split(rows, layout.lens or [layout.num_frames] * 2), start=1):
        assert (block == value).all()
