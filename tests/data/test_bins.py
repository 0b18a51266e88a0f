import json

import numpy as np
import pytest

from maya_data.planning.bins import RATIO, WIDEST, Buckets, Search, Shape, grid
from maya_data.planning.bucket_file import read_buckets
from maya_data.planning.quantiles import Quantiles, token_edges


def _durations(number, seed=0):
    drawn = np.random.default_rng(seed).lognormal(1.85, 0.65, number)
    return np.clip(drawn, 0.3, 40).astype(np.float32)


def _grid(durations, weights, shape):
    chunks = [(durations, np.asarray(weights, np.float64))]
    return grid(chunks, float(durations.min()), float(durations.max()), shape).of(durations)


def test_bins_are_ordered_by_duration_and_narrow_where_data_suffice():
    durations = np.random.default_rng(0).uniform(1, 20, 50_000).astype(np.float32)
    bins = _grid(durations, np.ones(len(durations)), Shape(20.0, 8, 1))
    for number in range(bins.max() + 1):
        mine = durations[bins == number]
        assert mine.max() / mine.min() <= RATIO**2
        assert mine.min() >= durations[bins < number].max(initial=0)


def test_few_segments_are_joined_but_not_with_much_longer_ones():
    durations = np.array([1.0] * 20 + [1.05] * 20 + [9.0, 9.1], np.float32)
    bins = _grid(durations, np.ones(42), Shape(20.0, None, 1))
    assert bins.max() == 1
    assert (bins[:40] == 0).all()
    assert RATIO < WIDEST


def test_size_fills_the_budget():
    shape = Shape(20.0, 8, 1)
    assert [shape.size(d) for d in (0.5, 4.0, 6.7, 30.0)] == [8, 5, 2, 1]


def test_one_duration_makes_one_bin():
    assert _grid(np.ones(5, np.float32), np.ones(5), Shape(20.0, None, 1)).tolist() == [0] * 5


@pytest.mark.parametrize("number", [1, 7, 120, 5000])
def test_search_finds_what_binary_search_finds(number):
    durations = _durations(20_000)
    edges = np.unique(np.append(np.random.default_rng(1).choice(durations, number), 40.0).astype(np.float64))
    durations = np.concatenate([durations, edges.astype(np.float32), [np.float32(1e-3), np.float32(39.99)]])
    assert (Search(edges)(durations) == np.searchsorted(edges, durations.astype(np.float64))).all()


@pytest.mark.parametrize("seed", range(3))
def test_thirty_buckets_pad_less_than_buckets_of_equal_counts_or_hours(seed):
    durations = _durations(30_000, seed)
    ordered = np.sort(durations.astype(np.float64))
    made = Quantiles(float(durations.min()), float(durations.max())).add([(durations, np.ones(30_000))])
    edges = made.edges(30)
    assert len(edges) == 30
    assert edges[-1] == durations.max()
    assert set(edges) <= set(ordered)
    hours = ordered[np.searchsorted(np.cumsum(ordered), np.arange(1, 31) / 30 * ordered.sum() * (1 - 1e-9))]
    counts = ordered[np.arange(1, 31) * 1000 - 1]
    padded = [_padded(ordered, which) for which in (edges, hours, counts)]
    assert padded[0] <= min(padded)
    assert 1 - ordered.sum() / padded[0] < 0.055


def _padded(ordered, edges):
    return edges[np.searchsorted(edges, ordered)].sum()


def test_weights_move_the_edges():
    durations = _durations(5000)
    short = np.where(durations < 3, 100.0, 1.0)
    made = [Quantiles(0.3, 40.0).add([(durations, w)]).edges(10) for w in (np.ones(5000), short)]
    assert (made[1] < 3).sum() > (made[0] < 3).sum()


def test_few_durations_make_few_buckets():
    durations = np.array([1.0, 2.0, 2.0, 5.0], np.float32)
    assert Quantiles(1.0, 5.0).add([(durations, np.ones(4))]).edges(30).tolist() == [1.0, 2.0, 5.0]


def test_tokens_cut_each_duration_bucket_into_equal_parts():
    bins = np.repeat([0, 1], 300)
    tokens = np.concatenate([np.arange(300), 2 * np.arange(300)]).astype(np.uint16)
    assert token_edges([(bins, tokens)], 2, 3).tolist() == [[99, 199, 299], [198, 398, 598]]


def test_two_dimensional_buckets_are_found():
    buckets = Buckets(
        np.array([2.0, 9.0]), np.array([0, 1]), np.ones(4, np.int64), np.array([[5, 8], [20, 30]])
    )
    durations = np.array([1.0, 2.0, 2.0, 3.0, 9.0], np.float32)
    tokens = np.array([5, 6, 99, 20, 21], np.uint16)
    assert buckets.of(durations, tokens).tolist() == [0, 1, 1, 2, 3]


def _write(path, rows):
    path.write_text(json.dumps({"buckets": rows}))
    return path


def test_a_table_of_buckets_is_read(tmp_path):
    rows = [{"max_duration": 9.0, "batch_size": 4}, {"max_duration": 2.0, "batch_size": 20}]
    made = read_buckets(_write(tmp_path / "table.json", rows))
    assert (made.edges.tolist(), made.sizes.tolist(), made.token_edges) == ([2.0, 9.0], [20, 4], None)


def test_a_table_with_tokens_may_have_fewer_cuts_in_one_bucket(tmp_path):
    rows = [
        {"max_duration": 2.0, "max_tokens": 5, "batch_size": 20},
        {"max_duration": 9.0, "max_tokens": 30, "batch_size": 3},
        {"max_duration": 9.0, "max_tokens": 20, "batch_size": 4},
    ]
    made = read_buckets(_write(tmp_path / "table.json", rows))
    assert made.token_edges.tolist() == [[5, 5], [20, 30]]
    assert made.sizes.tolist() == [20, 20, 4, 3]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no buckets"),
        ([{"max_duration": 2.0}], "must hold buckets with max_duration, batch_size .*KeyError"),
        ([{"max_duration": 2.0, "batch_size": 0}], "must be above 0, got 2.0 and 0"),
        ([{"max_duration": 2.0, "batch_size": 1}] * 2, "and each once"),
        (
            [
                {"max_duration": 2.0, "batch_size": 1},
                {"max_duration": 3.0, "batch_size": 1, "max_tokens": 2},
            ],
            "must give max_tokens to all buckets or none",
        ),
    ],
)
def test_a_wrong_table_is_told(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read_buckets(_write(tmp_path / "table.json", rows))


def test_a_missing_table_is_told(tmp_path):
    with pytest.raises(ValueError, match="is missing; `maya-data bins --json` writes one"):
        read_buckets(tmp_path / "none.json")
