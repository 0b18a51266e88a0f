"""Lists of the segments that alone are trained on."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maya_data.planning import filters
from maya_data.planning.filters import Filter, FilterConfig, kept
from maya_data.planning.keep_list import keep_notes, write_keep_list
from maya_data.planning.plan import Plan

N = 40


@pytest.fixture
def index():
    """Forty segments of one language."""
    columns = {
        "flags": np.zeros(N, np.uint8),
        "chars": np.full(N, 9, np.uint16),
        "corpus": np.zeros(N, np.uint8),
        "lang": np.zeros(N, np.uint8),
    }
    return SimpleNamespace(
        path="made-up",
        fingerprint="made-up",
        langs=["en"],
        lang_ids=columns["lang"],
        durations=np.full(N, 2.0, np.float32),
        columns=columns,
        names=lambda column: [{"corpus": "read", "lang": "en"}[column]],
    )


def plan(index, **rules):
    return Plan(index, {"batch_duration": 8.0, "filter": rules})


def test_only_the_segments_of_the_list_are_taken(index, tmp_path, monkeypatch):
    monkeypatch.setattr(filters, "CHUNK", 7)
    write_keep_list(tmp_path / "keep.parquet", index, np.array([3, 7, 39]), {"loss": np.zeros(3)})

    config = FilterConfig(keep=str(tmp_path / "keep.parquet"))

    assert np.flatnonzero(kept(index, config)).tolist() == [3, 7, 39]
    assert str(Filter(index, config).report()) == "3 segments are left; removed: 37 by keep"
    assert plan(index, keep=config.keep).rows().tolist() == [3, 7, 39]


def test_a_plan_is_known_by_the_segments_of_its_list_and_not_by_its_file(index, tmp_path):
    for name, rows in (("a", [1, 2]), ("b", [1, 2]), ("c", [1, 3])):
        write_keep_list(tmp_path / name, index, np.array(rows), notes={"of": name})

    a, b, c = (plan(index, keep=str(tmp_path / name)) for name in "abc")

    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert a.parts["filter"] != plan(index).parts["filter"]
    assert keep_notes(tmp_path / "a")["of"] == "a"
    assert keep_notes(tmp_path / "d") == {}


def test_a_plan_without_a_list_has_the_fingerprint_that_it_had_before_there_were_lists(index):
    assert plan(index).fingerprint == "fd566a5aad396037bd216ccf4612fc0e"


def test_a_list_of_another_index_is_refused(index, tmp_path):
    write_keep_list(tmp_path / "keep.parquet", index, np.array([1]))
    index.fingerprint = "other"

    with pytest.raises(ValueError, match=r"keep.parquet, which was made for another index; make it again"):
        plan(index, keep=str(tmp_path / "keep.parquet"))


def test_what_is_no_list_is_refused_in_one_sentence(index, tmp_path):
    (tmp_path / "torn").write_bytes(b"PAR1")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other")

    for name, reason in (
        ("missing", "which is not there"),
        ("torn", "no list of segments"),
        ("other", "no list"),
    ):
        with pytest.raises(ValueError, match=reason):
            plan(index, keep=str(tmp_path / name))
