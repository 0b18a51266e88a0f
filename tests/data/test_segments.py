import json
import pickle
import shutil

import numpy as np
import pytest

from maya_data.indexing.build import build_index
from maya_data.indexing.segments import COLUMNS, SegmentIndex, open_index, trainable
from maya_data.indexing.strings import Strings


@pytest.fixture
def two_sources(tmp_path, shelf):
    """Two sources with a shard of one name each; the second lies in a bucket."""
    near = shelf(root=str(tmp_path / "near"), name="near", a=[{}], b=[{}, {}])
    far = shelf(root="s3://bucket/far", name="far", a=[{"speaker": "t"}])
    return build_index([near, far], tmp_path / "index")


def test_a_row_says_everything(tmp_path, shelf):
    row = {"offset": 7, "speaker": "me", "start": 800, "text": "hi", "sampling_rate": 8000, "duration": 0.25}
    made = build_index(shelf(a=[{}, row]), tmp_path)
    segment = made[1]
    assert (segment.id, segment.shard, segment.offset, segment.size) == ("a-1", "a.tar", 7, 100)
    assert (segment.text, segment.speaker, segment.start, segment.flags) == ("hi", "me", 800, 0)
    assert (segment.duration, segment.sampling_rate, segment.num_samples) == (0.25, 8000, 2000)
    assert made.columns["start"].tolist() == [0, 800]
    assert made.columns["chars"].tolist() == [5, 2]
    assert made[-1] == segment


def test_start_is_no_column_where_every_segment_is_a_whole_file(index):
    assert "start" not in index.columns
    assert index[0].start == 0
    assert {*index.columns} == {*COLUMNS}


def test_a_later_build_without_starts_forgets_the_old_column(tmp_path, shelf):
    build_index(shelf(a=[{"start": 5}]), tmp_path)
    assert "start" not in build_index(shelf(b=[{}]), tmp_path).columns
    assert not (tmp_path / "start.npy").exists()


def test_rows_outside_are_an_error_and_iteration_ends(index):
    with pytest.raises(IndexError, match="segment 70 is outside the 70 of"):
        index[70]
    assert [segment.id for segment in index] == [index.string("id", i) for i in range(70)]


def test_under_thirty_bytes_a_segment_also_with_many_files_and_speakers(tmp_path, shelf):
    rows = [{"shard": f"{n}.flac", "speaker": str(n), "offset": n} for n in range(70_000)]
    made = build_index(shelf(a=rows), tmp_path)
    assert sum(column.itemsize for column in made.columns.values()) < 30
    assert made.columns["shard"].dtype == np.uint32
    assert (made.name("shard", 69_999), made.name("speaker", 0)) == ("69999.flac", "0")
    assert len(made.names("shard")) == len(made.names("speaker")) == 70_000
    assert "shard" not in made.info["names"]


def test_offsets_and_sizes_beyond_four_gib_are_kept(tmp_path, shelf):
    rows = [{"offset": (1 << 32) - 50, "size": 100}, {"offset": 3, "size": 5_000_000_000}]
    made = build_index(shelf(a=rows), tmp_path)
    assert [(row.offset, row.size) for row in made] == [(4294967246, 100), (3, 5_000_000_000)]


def test_names_are_looked_up_lazily_and_in_order(two_sources):
    shards = two_sources.names("shard")
    assert isinstance(shards, Strings)
    assert list(shards) == ["a.tar", "b.tar", "a.tar"]
    assert (shards[-1], shards[0:2]) == ("a.tar", ["a.tar", "b.tar"])
    assert two_sources.names("lang") == ["en"]
    assert [two_sources.name("speaker", i) for i in range(4)] == ["s", "s", "s", "t"]


def test_each_source_has_its_own_root(two_sources, tmp_path):
    where = [two_sources.location(i) for i in range(4)]
    assert where[:2] == [f"{tmp_path}/near/a.tar", f"{tmp_path}/near/b.tar"]
    assert where[3] == "s3://bucket/far/a.tar"


def test_a_root_overrules_one_source_or_is_mapped(two_sources, tmp_path):
    moved = open_index(two_sources.path, root={"near": "/moved"})
    assert [moved.location(i) for i in (0, 3)] == ["/moved/a.tar", "s3://bucket/far/a.tar"]
    assert pickle.loads(pickle.dumps(moved)).location(0) == "/moved/a.tar"
    with pytest.raises(ValueError, match=r"`root` must map the names of the sources .*near, far.*got /moved"):
        open_index(two_sources.path, root="/moved")
    with pytest.raises(ValueError, match=r"`root` names the source 'hear'; .* has: near, far"):
        open_index(two_sources.path, root={"hear": "/moved"})


def test_columns_of_parquet_and_absolute_paths_keep_their_place(tmp_path, shelf):
    rows = [{"shard": "data/x.parquet#audio"}, {"shard": "/elsewhere/b.flac"}, {"shard": "gs://b/c.flac"}]
    made = build_index(shelf(root="/data", a=rows), tmp_path)
    assert [made.location(i) for i in range(3)] == [
        "/data/data/x.parquet#audio",
        "/elsewhere/b.flac",
        "gs://b/c.flac",
    ]


def test_an_id_is_found_or_named(index):
    assert index.find(index[41].id) == 41
    with pytest.raises(KeyError) as error:
        index.find("nobody")
    assert str(error.value) == f"no segment of {index.path} has the id 'nobody'"


def test_texts_of_given_rows_come_in_that_order(index):
    assert list(index.texts([60, 0])) == [(index[60].text, "ta"), (index[0].text, "en")]


@pytest.mark.parametrize("rows_a_batch", [7, 16_384])
def test_texts_of_many_small_shards_are_in_order(tmp_path, shelf, monkeypatch, rows_a_batch):
    monkeypatch.setattr("maya_data.indexing.columns.ROWS_A_BATCH", rows_a_batch)
    shards = {f"s{n:03d}": [{"text": f"t{n}"}] * (n % 5) for n in range(100)}
    made = build_index(shelf(**shards), tmp_path)
    expected = [f"t{n}" for n in range(100) for _ in range(n % 5)]
    assert [text for text, _ in made.texts()] == expected
    assert made.strings("text", 50, 150) == expected[50:150]
    assert made.strings("text", 0, 1000) == [row.text for row in made] == expected
    assert [made.find(made[i].id) for i in range(0, len(made), 17)] == list(range(0, len(made), 17))


def test_damaged_rows_have_no_samples_and_do_not_spoil_the_hours(tmp_path, shelf):
    rows = [{"duration": d} for d in (0.0, -3.0, float("nan"), float("inf"), 2.0)]
    made = build_index(shelf(a=rows), tmp_path)
    assert [row.num_samples for row in made] == [0, 0, 0, 0, 32000]
    assert made.hours == pytest.approx(2 / 3600)
    assert np.isfinite(made.durations).all()
    assert trainable(made.columns["flags"]).tolist() == [False] * 4 + [True]


def test_a_copy_in_another_process_must_be_the_same_index(tmp_path, shelf):
    made = build_index(shelf(a=[{}]), tmp_path)
    sent = pickle.dumps(made)
    assert pickle.loads(sent)[0] == made[0]
    build_index(shelf(a=[{}], b=[{}]), tmp_path)
    assert len(made) == len(made.durations) == 1
    with pytest.raises(ValueError, match="has changed since it was opened"):
        pickle.loads(sent)


def test_an_index_that_is_replaced_while_open_is_no_mixture(tmp_path, shelf):
    first, second = (build_index(shelf(a=[{"text": "old"}] * 2), tmp_path) for _ in range(2))
    assert first[1].text == "old"
    build_index(shelf(a=[{"text": "new"}] * 2), tmp_path)
    assert first[0].text == "old"
    with pytest.raises(ValueError, match="has changed since it was opened"):
        second[0]


BREAKAGE = {
    "no column": (lambda path: (path / "size.npy").unlink(), r"size.npy cannot be read .*No such file"),
    "half a column": (lambda path: _cut(path / "size.npy"), r"size.npy cannot be read"),
    "an empty column": (lambda path: (path / "flags.npy").write_bytes(b""), r"flags.npy cannot be read"),
    "another length": (
        lambda path: np.save(path / "size.npy", np.zeros(3)),
        "size.npy has 3 rows, index.json says 70",
    ),
    "no JSON": (
        lambda path: (path / "index.json").write_text("{"),
        "index.json is no JSON of a segment index",
    ),
    "other JSON": (
        lambda path: (path / "index.json").write_text("[1]"),
        "index.json is no JSON of a segment index",
    ),
    "schema 1": (
        lambda path: (path / "index.json").write_text('{"schema": 1}'),
        "schema 1, this version reads 2",
    ),
}


def _cut(file):
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize("breakage", BREAKAGE)
def test_a_damaged_index_is_named_in_one_sentence(index, tmp_path, breakage):
    damage, message = BREAKAGE[breakage]
    shutil.copytree(index.path, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(ValueError, match=message) as error:
        open_index(tmp_path / "copy")
    assert "\n" not in str(error.value)


def test_an_index_of_thousands_of_shards_opens_without_reading_them(index, tmp_path, monkeypatch):
    monkeypatch.setattr(Strings, "chunks", property(lambda self: pytest.fail("read strings")))
    assert len(open_index(index.path)) == 70


def test_the_old_way_to_open_stays(index):
    assert isinstance(SegmentIndex.open(index.path), SegmentIndex)
    assert json.loads((index.path / "index.json").read_text("utf-8"))["schema"] == 2
