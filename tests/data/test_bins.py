import numpy as np

from maya_data.bins import RATIO, WIDEST, Shape, assign


def test_bins_are_ordered_by_duration_and_narrow_where_data_suffice():
    durations = np.random.default_rng(0).uniform(1, 20, 50_000).astype(np.float32)
    bins = assign(durations, np.ones(len(durations)), Shape(20.0, 8, 1))
    for number in range(bins.max() + 1):
        mine = durations[bins == number]
        assert mine.max() / mine.min() <= RATIO**2
        assert mine.min() >= durations[bins < number].max(initial=0)


def test_few_segments_are_joined_but_not_with_much_longer_ones():
    durations = np.array([1.0] * 20 + [1.05] * 20 + [9.0, 9.1], np.float32)
    bins = assign(durations, np.ones(42), Shape(20.0, None, 1))
    assert bins.max() == 1
    assert (bins[:40] == 0).all()
    assert RATIO < WIDEST


def test_size_fills_the_budget():
    shape = Shape(20.0, 8, 1)
    assert [shape.size(d) for d in (0.5, 4.0, 6.7, 30.0)] == [8, 5, 2, 1]


def test_one_duration_makes_one_bin():
    assert assign(np.ones(5, np.float32), np.ones(5), Shape(20.0, None, 1)).tolist() == [0] * 5
