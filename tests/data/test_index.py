import pickle

import pytest

from maya_data.index import build_index
from maya_data.readers.final_export import FinalExport
from maya_data.segments import EMPTY_TEXT, SegmentIndex


class CountingReader(FinalExport):
    """Counts the shards that it reads."""

    reads = 0

    def read_shard(self, shard):
        self.reads += 1
        return super().read_shard(shard)


class RowReader:
    """A reader that knows no shards."""

    text = "asr-v1"

    def __init__(self, corpus):
        self.root = str(corpus)

    def build(self):
        return FinalExport(root=self.root).build()


def test_rows_come_back_as_the_reader_gave_them(index, corpus):
    for i, row in enumerate(FinalExport(root=str(corpus)).build()):
        segment = index.row(i)
        assert segment.duration == pytest.approx(row.pop("duration"))
        assert {name: getattr(segment, name) for name in row} == row
    assert len(index) == i + 1


def test_columns_are_mapped_and_small(index):
    assert index.langs == ["en", "hi", "ta"]
    assert index.durations.shape == index.lang_ids.shape == (70,)
    assert sum(column.itemsize for column in index.columns.values()) <= 30
    assert index.hours == pytest.approx(float(index.durations.sum()) / 3600)


def test_texts_are_in_order_of_rows(index):
    assert list(index.texts()) == [(index.row(i).text, index.row(i).lang) for i in range(len(index))]


def test_finished_shards_are_not_read_again(corpus, tmp_path):
    first, second = CountingReader(root=str(corpus)), CountingReader(root=str(corpus))
    made = build_index(first, tmp_path)
    again = build_index(second, tmp_path)
    assert (first.reads, second.reads) == (4, 0)
    assert made.fingerprint == again.fingerprint


def test_interrupted_build_goes_on(corpus, tmp_path):
    class Killed(CountingReader):
        def read_shard(self, shard):
            if self.reads == 2:
                raise KeyboardInterrupt
            return super().read_shard(shard)

    with pytest.raises(KeyboardInterrupt):
        build_index(Killed(root=str(corpus)), tmp_path)
    with pytest.raises(ValueError, match="is no segment index"):
        SegmentIndex.open(tmp_path)
    rest = CountingReader(root=str(corpus))
    assert len(build_index(rest, tmp_path)) == 70
    assert rest.reads == 2


def test_changed_shard_is_read_again(tmp_path, write_shard):
    root = tmp_path / "root"
    write_shard(root / "lang=hi" / "a", [0.3])
    before = build_index(FinalExport(root=str(root)), tmp_path / "index")
    (root / "lang=hi" / "a" / "manifest.json").write_text('{"corpus": "renamed"}')
    write_shard(root / "lang=hi" / "b", [0.4])
    after = build_index(FinalExport(root=str(root)), tmp_path / "index")
    assert [after.row(i).corpus for i in range(2)] == ["renamed", "tiny"]
    assert before.fingerprint != after.fingerprint
    assert len(list((tmp_path / "index" / "parts").iterdir())) == 2


def test_broken_shards_are_left_out_and_listed(tmp_path, write_shard):
    root = tmp_path / "root"
    write_shard(root / "lang=hi" / "good", [0.3])
    write_shard(root / "lang=hi" / "half", [0.3])
    (root / "lang=hi" / "half" / "metadata.parquet").unlink()
    (root / "lang=ta" / "empty").mkdir(parents=True)
    made = build_index(FinalExport(root=str(root)), tmp_path / "index")
    assert len(made) == 1
    assert list(made.info["broken"]) == ["lang=hi/half", "lang=ta/empty"]
    assert "metadata.parquet is missing" in made.info["broken"]["lang=hi/half"]


def test_nothing_but_broken_shards_is_an_error(tmp_path):
    (tmp_path / "root" / "lang=ta" / "empty").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"all 1 shards are broken: .*lang=ta/empty: audio.tar is missing"):
        build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")


def test_reader_without_shards_gives_the_same_rows(index, corpus, tmp_path):
    made = build_index(RowReader(corpus), tmp_path)
    assert [made.row(i) for i in range(70)] == [index.row(i) for i in range(70)]


def test_empty_transcript_is_flagged(tmp_path, write_shard, monkeypatch):
    rows = [*FinalExport(root=str(_one(tmp_path, write_shard))).build()]
    reader = RowReader(tmp_path)
    monkeypatch.setattr(reader, "build", lambda: [rows[0], {**rows[1], "text": " "}])
    assert [build_index(reader, tmp_path / "index").row(i).flags for i in range(2)] == [0, EMPTY_TEXT]


def _one(folder, write_shard):
    write_shard(folder / "lang=hi" / "s", [0.3, 0.4])
    return folder


def test_progress_is_told(corpus, tmp_path):
    told = []
    build_index(FinalExport(root=str(corpus)), tmp_path, progress=lambda *step: told.append(step))
    assert told[0] == (1, 4, "lang=en/000")
    assert told[-1][:2] == (4, 4)


def test_index_opens_in_another_process_and_under_another_root(index, tmp_path):
    copied = pickle.loads(pickle.dumps(index))
    assert copied.row(3) == index.row(3)
    assert SegmentIndex.open(index.path, root=tmp_path).root == tmp_path


def test_unknown_schema_is_refused_with_both_numbers(tmp_path):
    (tmp_path / "index.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="has index schema 99, this version reads 1"):
        SegmentIndex.open(tmp_path)


def test_lhotse_cuts_carry_audio_and_text(index):
    pytest.importorskip("lhotse", exc_type=ImportError)
    cut = next(iter(index.to_cuts()))
    assert cut.load_audio().shape == (1, index.row(0).num_samples)
    assert (cut.supervisions[0].text, cut.supervisions[0].language) == ("don't stop", "en")
