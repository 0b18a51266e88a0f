import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from maya_data.indexing.atomic import DiskFull, exclusive
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import (
    BAD_DURATION,
    EMPTY_TEXT,
    UNKNOWN_LANG,
    WRONG_SCRIPT,
    SegmentIndex,
    open_index,
)
from maya_data.indexing.work import IndexingFailed
from maya_data.readers import BrokenShard
from maya_data.readers.final_export import FinalExport


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
    with pytest.raises(ValueError, match="has index schema 99, this version reads 2"):
        SegmentIndex.open(tmp_path)


def test_lhotse_cuts_carry_audio_and_text(index):
    pytest.importorskip("lhotse", exc_type=ImportError)
    cut = next(iter(index.to_cuts()))
    assert cut.load_audio().shape == (1, index.row(0).num_samples)
    assert (cut.supervisions[0].text, cut.supervisions[0].language) == ("don't stop", "en")


def _same(first, second):
    return first.fingerprint == second.fingerprint and list(first) == list(second)


def test_any_executor_gives_the_same_index(index, corpus, tmp_path):
    with ThreadPoolExecutor(3) as threads:
        made = build_index(FinalExport(root=str(corpus)), tmp_path, executor=threads)
    assert _same(made, index)


def test_processes_give_the_same_index(index, corpus, tmp_path):
    told = []
    made = build_index(
        FinalExport(root=str(corpus)), tmp_path, processes=2, progress=lambda *step: told.append(step)
    )
    assert _same(made, index)
    assert [step[:2] for step in told] == [(n, 4) for n in range(1, 5)]


def test_a_dask_cluster_of_two_workers_gives_the_same_index(index, corpus, tmp_path):
    distributed = pytest.importorskip("distributed")
    from maya_data.indexing.cluster import dask_executor

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options, local_directory=str(tmp_path / "dask")) as cluster:
        with dask_executor(cluster.scheduler_address) as executor:
            made = build_index(FinalExport(root=str(corpus)), tmp_path / "index", executor=executor)
        assert len(cluster.workers) == 2
    assert _same(made, index)


def test_an_unreachable_dask_scheduler_is_one_sentence(monkeypatch):
    pytest.importorskip("distributed")
    from maya_data.indexing import cluster

    monkeypatch.setattr(cluster, "TIMEOUT", 0.2)
    answer = pytest.raises(
        ConnectionError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 within 0.2 s"
    )
    with answer, cluster.dask_executor("tcp://127.0.0.1:9"):
        pass


def test_a_missing_dask_is_named_with_its_install_line(monkeypatch):
    from maya_data.indexing.cluster import dask_executor

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'maya-data\[dask\]'"), dask_executor("tcp://x:1"):
        pass


def test_negative_processes_are_refused(shelf, tmp_path):
    with pytest.raises(ValueError, match="`processes` must be 0 or more, got -1"):
        build_index(shelf(a=[{}]), tmp_path, processes=-1)


def test_sources_stand_in_their_order_and_share_nothing_by_name(shelf, tmp_path):
    first = shelf(name="first", a=[{"text": "one"}])
    second = shelf(name="second", a=[{"text": "two"}], b=[{"text": "three"}])
    made = build_index([first, second], tmp_path)
    assert [row.text for row in made] == ["one", "two", "three"]
    assert [(s["name"], s["reader"], s["first_shard"]) for s in made.sources] == [
        ("first", "Shelf", 0),
        ("second", "Shelf", 1),
    ]


def test_a_grown_source_is_appended_and_old_shards_are_not_read_again(shelf, tmp_path):
    before = build_index([shelf(b=[{}]), shelf(name="other", x=[{}])], tmp_path)
    grown, other = shelf(b=[{}], a=[{}], c=[{}]), shelf(name="other", x=[{}])
    after = build_index([grown, other], tmp_path)
    assert (grown.reads, other.reads) == (["a", "c"], [])
    assert [row.shard for row in after] == ["a.tar", "b.tar", "c.tar", "x.tar"]
    assert before.fingerprint != after.fingerprint


def test_another_source_is_appended(shelf, tmp_path):
    build_index(shelf(a=[{}]), tmp_path)
    old = shelf(a=[{}])
    assert len(build_index([old, shelf(name="new", b=[{}])], tmp_path)) == 2
    assert old.reads == []


def test_other_settings_of_a_reader_read_again_and_another_root_does_not(tmp_path, write_shard):
    write_shard(tmp_path / "root" / "lang=hi" / "a", [0.3])
    out = tmp_path / "index"
    fingerprint = build_index(CountingReader(root=str(tmp_path / "root")), out).fingerprint
    (tmp_path / "root").rename(tmp_path / "moved")
    moved = CountingReader(root=str(tmp_path / "moved"))
    assert build_index(moved, out).fingerprint == fingerprint
    assert moved.reads == 0
    mapped = CountingReader(root=str(tmp_path / "moved"), columns={"domain": "speaker"})
    assert build_index(mapped, out).row(0).domain == "speaker0"
    assert mapped.reads == 1


def test_two_sources_of_one_name_are_refused(shelf, tmp_path):
    with pytest.raises(ValueError, match="two sources are named 'shelf'; give each a name of its own"):
        build_index([shelf(a=[{}]), shelf(b=[{}])], tmp_path)


def test_sources_of_two_text_profiles_are_refused(shelf, tmp_path):
    first, second = shelf(name="first", a=[{}]), shelf(name="second", a=[{}])
    second.text = "asr-v2"
    with pytest.raises(ValueError, match=r"different text profiles \(first: asr-v1, second: asr-v2\)"):
        build_index([first, second], tmp_path)


def test_ids_met_in_two_sources_are_kept_in_both(shelf, tmp_path):
    made = build_index([shelf(name=name, a=[{"id": "same"}]) for name in ("x", "y")], tmp_path)
    assert [row.id for row in made] == ["same", "same"]
    assert made.find("same") == 0


def test_a_shard_that_a_reader_lists_twice_is_taken_once_and_told(shelf, tmp_path, monkeypatch):
    reader = shelf(a=[{}])
    monkeypatch.setattr(reader, "shards", lambda: ["a", "a"])
    made = build_index(reader, tmp_path)
    assert len(made) == 1
    assert made.info["broken"] == {"a": "a: the reader lists this shard twice; it is taken once"}


DAMAGE = {
    "zero": ({"duration": 0.0}, BAD_DURATION, "has a duration that is zero, negative or not finite: 0.0"),
    "negative": (
        {"duration": -1.5},
        BAD_DURATION,
        "has a duration that is zero, negative or not finite: -1.5",
    ),
    "not a number": ({"duration": float("nan")}, BAD_DURATION, "zero, negative or not finite: nan"),
    "empty": ({"text": ""}, EMPTY_TEXT, "has an empty transcript"),
    "blank": ({"text": " \u3000\n"}, EMPTY_TEXT, "has an empty transcript"),
    "unknown": ({"lang": "xx"}, UNKNOWN_LANG, "has a language that is none of as, bn, .*: 'xx'"),
    "script": ({"lang": "hi"}, WRONG_SCRIPT, "is mostly written in another script than its language's"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_is_kept_flagged_and_told_with_shard_and_row(shelf, tmp_path, damage):
    row, bit, message = DAMAGE[damage]
    made = build_index(shelf(a=[{}, row]), tmp_path)
    assert [row.flags for row in made] == [0, bit]
    (example,) = made.info["examples"]
    assert example.startswith("a.tar: segment a-1 (row 1) ")
    assert pytest.importorskip("re").search(message, example)
    assert list(made.info["flagged"].values()) == [1]


def test_many_damaged_rows_are_counted_and_a_few_told(shelf, tmp_path):
    made = build_index(shelf(a=[{"text": ""}] * 50), tmp_path)
    assert made.info["flagged"] == {"has an empty transcript": 50}
    assert len(made.info["examples"]) == 3


def test_rows_are_counted_from_the_start_of_the_shard(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr("maya_data.indexing.parts.ROWS_A_BATCH", 2)
    made = build_index(shelf(a=[{}, {}, {}, {"text": ""}]), tmp_path)
    assert made.info["examples"] == ["a.tar: segment a-3 (row 3) has an empty transcript"]


class Oddity(FinalExport):
    """A reader whose shards of one language fail as told."""

    error: Exception = ValueError()

    def read_shard(self, shard):
        if shard.startswith("lang=hi"):
            raise self.error
        return super().read_shard(shard)


ERRORS = {
    "broken": (BrokenShard("lang=hi/000: metadata.parquet is odd"), "lang=hi/000: metadata.parquet is odd"),
    "arrow": (pa.ArrowInvalid("bad\nthing"), "lang=hi/000: cannot be read (ArrowInvalid: bad thing)"),
    "server": (OSError("no answer"), "lang=hi/000: cannot be read (OSError: no answer)"),
    "gone": (
        FileNotFoundError(2, "No such file", "/r/lang=hi/000/x.tar"),
        "/r/lang=hi/000: x.tar is missing",
    ),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_shard_that_cannot_be_read_is_one_sentence_and_the_others_are_indexed(corpus, tmp_path, kind):
    reader = Oddity(root=str(corpus))
    reader.error, message = ERRORS[kind]
    made = build_index(reader, tmp_path)
    assert made.info["broken"] == {"lang=hi/000": message}
    assert made.langs == ["en", "ta"]


def test_a_mistake_in_a_reader_is_not_taken_for_a_broken_shard(corpus, tmp_path):
    reader = Oddity(root=str(corpus))
    reader.error = AttributeError("typo")
    with pytest.raises(AttributeError, match="typo"):
        build_index(reader, tmp_path)


def test_rows_without_a_needed_column_or_of_another_type_break_their_shard(shelf, tmp_path, monkeypatch):
    reader = shelf(a=[{}], b=[{}], c=[{}])
    whole = reader.read_shard
    odd = {
        "a": lambda rows: rows.drop_columns(["text"]),
        "b": lambda rows: rows.set_column(4, "duration", pa.array(["long"])),
        "c": lambda rows: rows.drop_columns(["corpus", "size", "start"]),
    }
    monkeypatch.setattr(reader, "read_shard", lambda s: whole(s)._replace(rows=odd[s](whole(s).rows)))
    made = build_index(reader, tmp_path)
    assert made.info["broken"] == {
        "a": "a: the rows have no column `text`",
        "b": "b: the column `duration` holds string, expected double",
    }
    assert (made[0].corpus, made[0].size, made[0].start) == ("", 0, 0)


def test_bytes_that_are_no_utf8_are_replaced_and_the_row_is_kept(shelf, tmp_path, monkeypatch):
    reader = shelf(a=[{}, {}])
    rows = reader.read_shard("a").rows
    raw = pa.array([b"good", b"b\xffd"], pa.large_binary())
    broken = pa.Array.from_buffers(pa.large_string(), 2, raw.buffers())
    table = rows.set_column(rows.schema.get_field_index("text"), "text", broken)
    monkeypatch.setattr(reader, "read_shard", lambda shard: (table, {}) and type(_read(reader))(table, {}))
    made = build_index(reader, tmp_path)
    assert [row.text for row in made] == ["good", "b\ufffdd"]


def _read(reader):
    return type(reader).read_shard(reader, "a")


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_damaged_part_is_made_again(corpus, tmp_path, damage):
    made = build_index(FinalExport(root=str(corpus)), tmp_path)
    part = sorted((tmp_path / "parts").iterdir())[0]
    part.write_bytes(damage(part.read_bytes()))
    reader = CountingReader(root=str(corpus))
    assert _same(build_index(reader, tmp_path), made)
    assert reader.reads == 1


def test_a_part_of_another_layout_is_made_again(shelf, tmp_path, monkeypatch):
    made = build_index(shelf(a=[{}]), tmp_path)
    (part,) = (tmp_path / "parts").iterdir()
    with pa.memory_map(str(part)) as mapped:
        table = pa.ipc.open_file(mapped).read_all().drop_columns(["start"])
    with pa.ipc.new_file(str(part), table.schema) as writer:
        writer.write_table(table)
    again = shelf(a=[{}])
    assert _same(build_index(again, tmp_path), made)
    assert again.reads == ["a"]


def test_a_part_that_is_damaged_inside_is_named(shelf, tmp_path):
    rows = [{"text": f"text {n}", "offset": n * n} for n in range(2000)]
    made = build_index(shelf(a=rows), tmp_path)
    (part,) = (tmp_path / "parts").iterdir()
    data = bytearray(part.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = b"\xff" * 4000
    part.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{part} is damaged .* remove it and run `maya-data index` again"):
        build_index(shelf(a=rows), tmp_path)
    assert _same(open_index(tmp_path), made)


def test_a_full_disk_is_one_sentence_and_nothing_finished_is_lost(corpus, tmp_path, monkeypatch):
    made = build_index(FinalExport(root=str(corpus), langs=["en"]), tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("maya_data.indexing.parts.pa.ipc.new_file", full)
    with pytest.raises(
        DiskFull, match=r"no room to write in .*parts \(No space left on device\); finished shards"
    ):
        build_index(FinalExport(root=str(corpus)), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("maya_data.indexing.columns.np.lib.format.write_array_header_1_0", full)
    with pytest.raises(DiskFull, match=r"no room to write in .*; finished shards are kept, make room"):
        build_index(FinalExport(root=str(corpus)), tmp_path)
    monkeypatch.undo()
    assert _same(open_index(tmp_path), made)
    assert not (tmp_path / "fresh").exists()
    reader = CountingReader(root=str(corpus))
    assert len(build_index(reader, tmp_path)) == 70
    assert reader.reads == 0


LIMITED = """
import resource, signal, sys
from maya_data.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(["index", "--root", sys.argv[2], "--out", sys.argv[3]]))
"""


@pytest.mark.parametrize("with_parts", [False, True])
def test_writes_that_the_system_refuses_are_status_two_and_one_sentence(corpus, tmp_path, with_parts):
    if with_parts:
        build_index(FinalExport(root=str(corpus)), tmp_path)
    arguments = [sys.executable, "-c", LIMITED, "500", str(corpus), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("index: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert errors[0].startswith(f"maya-data: no room to write in {tmp_path}")
    assert (tmp_path / "index.json").exists() == with_parts


SLOW = """
import os, sys, time
from maya_data.indexing.build import build_index
from maya_data.indexing import merge
from maya_data.readers.final_export import FinalExport

class Slow(FinalExport):
    def read_shard(self, shard):
        if shard == sys.argv[3]:
            open(sys.argv[2] + ".reading." + str(os.getpid()), "w").close()
            time.sleep(60)
        return super().read_shard(shard)

def swap(fresh, out):
    open(sys.argv[2] + ".reading." + str(os.getpid()), "w").close()
    time.sleep(60)

if __name__ == "__main__":
    if sys.argv[3] == "merge":
        merge._swap = swap
    build_index(Slow(root=sys.argv[1]), sys.argv[2], processes=int(sys.argv[4]))
"""


def _killed_at(where, corpus, out, processes=1):
    """Start indexing in another process, kill it where told, and return the process id that was there."""
    script = out.parent / "slow.py"
    script.write_text(SLOW)
    running = subprocess.Popen([sys.executable, script, corpus, out, where, str(processes)])
    until = time.monotonic() + 60
    while not (marks := list(out.parent.glob(f"{out.name}.reading.*"))):
        assert running.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    return int(marks[0].suffix[1:])


def test_indexing_goes_on_after_kill_9(index, corpus, tmp_path):
    out = tmp_path / "index"
    _killed_at("lang=hi/000", corpus, out)
    reader = CountingReader(root=str(corpus))
    assert _same(build_index(reader, out), index)
    assert reader.reads == 2
    assert not [path for path in (out / "parts").iterdir() if path.suffix == ".tmp"]


def test_kill_9_while_appending_leaves_the_old_index(corpus, tmp_path):
    out = tmp_path / "index"
    old = build_index(FinalExport(root=str(corpus), langs=["en"]), out)
    _killed_at("merge", corpus, out)
    assert _same(open_index(out), old)
    reader = CountingReader(root=str(corpus))
    assert len(build_index(reader, out)) == 70
    assert reader.reads == 0


def test_an_end_while_files_are_put_in_place_leaves_no_mixture(corpus, tmp_path, monkeypatch):
    build_index(FinalExport(root=str(corpus), langs=["en"]), tmp_path)
    replaced, replace = [], Path.replace

    def stop(file, target):
        replaced.append(replace(file, target))
        if len(replaced) > 8:
            raise KeyboardInterrupt

    monkeypatch.setattr("maya_data.indexing.merge.Path.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        build_index(FinalExport(root=str(corpus), langs=["en"]), tmp_path)
    with pytest.raises(ValueError, match="is no segment index"):
        open_index(tmp_path)
    monkeypatch.undo()
    reader = CountingReader(root=str(corpus), langs=["en"])
    assert len(build_index(reader, tmp_path)) == 40
    assert reader.reads == 0


def test_workers_end_with_a_killed_parent(corpus, tmp_path):
    worker = _killed_at("lang=en/000", corpus, tmp_path / "index", processes=2)
    until = time.monotonic() + 20
    while _is_running(worker):
        assert time.monotonic() < until
        time.sleep(0.05)


def _is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


DYING = """
import os, sys
from maya_data.indexing.build import build_index
from maya_data.readers.final_export import FinalExport

class Dying(FinalExport):
    def read_shard(self, shard):
        os._exit(1) if shard == "lang=ta/000" else None
        return super().read_shard(shard)

if __name__ == "__main__":
    try:
        build_index(Dying(root=sys.argv[1]), sys.argv[2], processes=2)
    except RuntimeError as error:
        print(type(error).__name__, error)
"""


def test_a_worker_that_dies_is_told_and_finished_shards_are_kept(corpus, tmp_path):
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    arguments = [sys.executable, script, corpus, tmp_path / "index"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.stdout.startswith(
        "IndexingFailed a worker process died, perhaps for want of memory; finished"
    )
    assert any((tmp_path / "index" / "parts").iterdir())


def test_an_error_in_an_executor_is_one_sentence(shelf, tmp_path, monkeypatch):
    reader = shelf(a=[{}])
    monkeypatch.setattr(reader, "read_shard", lambda shard: 1 + "")
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(IndexingFailed, match=r"failed in a worker \(TypeError"),
    ):
        build_index(reader, tmp_path, executor=threads)


def test_a_part_that_another_machine_kept_to_itself_is_told(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("maya_data.indexing.work.write_part", lambda read, path: None)
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(IndexingFailed, match="must be on a disk that all share"),
    ):
        build_index(FinalExport(root=str(corpus)), tmp_path, executor=threads)


def test_the_fingerprint_is_of_the_rows_alone(corpus, index, tmp_path):
    shutil.copytree(corpus, tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "lang=en" / "000" / "audio.tar")
    made = build_index(FinalExport(root=str(tmp_path / "elsewhere")), tmp_path / "index")
    assert made.fingerprint == index.fingerprint


@pytest.mark.parametrize(
    "change", [{"text": "hallo"}, {"offset": 513}, {"lang": "ta"}, {"id": "x"}, {"start": 1}]
)
def test_the_fingerprint_changes_with_any_row(shelf, tmp_path, change):
    before = build_index(shelf(a=[{}, {}]), tmp_path / "before")
    after = build_index(shelf(a=[{}, change]), tmp_path / "after")
    assert before.fingerprint != after.fingerprint


def test_the_schema_is_in_the_fingerprint(shelf, tmp_path, monkeypatch):
    before = build_index(shelf(a=[{}]), tmp_path)
    monkeypatch.setattr("maya_data.indexing.merge.SCHEMA_VERSION", 3)
    with pytest.raises(ValueError, match="has index schema 3"):
        build_index(shelf(a=[{}]), tmp_path)
    assert json.loads((tmp_path / "index.json").read_text())["fingerprint"] != before.fingerprint


@pytest.mark.parametrize("seed", range(5))
def test_random_shards_in_random_sources_come_back_row_for_row(shelf, tmp_path, seed):
    import numpy as np

    rng = np.random.default_rng(seed)
    sources, expected = [], []
    for source in range(rng.integers(1, 4)):
        shards = {f"s{n:02d}": _rows(rng) for n in range(rng.integers(1, 6))}
        sources.append(shelf(name=f"source{source}", **shards))
        expected += [row for shard in sorted(shards) for row in shards[shard]]
    if not expected:
        return
    made = build_index(sources, tmp_path)
    told = [{key: getattr(row, key) for key in ("text", "offset", "speaker", "lang")} for row in made]
    assert told == expected


def _rows(rng):
    return [
        {
            "text": "\u0928" * int(rng.integers(1, 5)),
            "offset": int(rng.integers(0, 1 << 40)),
            "speaker": str(rng.integers(0, 9)),
            "lang": str(rng.choice(["hi", "mr"])),
        }
        for _ in range(rng.integers(0, 30))
    ]


def test_two_processes_do_not_build_in_one_folder(tmp_path, shelf):
    with (
        exclusive(tmp_path),
        pytest.raises(ValueError, match=r"another process is indexing into .*; wait for it"),
    ):
        build_index(shelf(a=[{}]), tmp_path)
    assert len(build_index(shelf(a=[{}]), tmp_path)) == 1


def test_parts_are_kept_while_a_shard_cannot_be_reached(corpus, tmp_path):
    made = build_index(FinalExport(root=str(corpus)), tmp_path / "index")
    assert len(build_index(Unreachable(root=str(corpus)), tmp_path / "index")) == 50
    back = CountingReader(root=str(corpus))
    assert _same(build_index(back, tmp_path / "index"), made)
    assert back.reads == 0


class Unreachable(FinalExport):
    """A reader that does not reach the shards of one language."""

    def signature(self, shard):
        if shard.startswith("lang=hi"):
            raise OSError("no answer from the server")
        return FinalExport.signature(self, shard)


def test_a_source_that_is_not_there_is_named(shelf, tmp_path):
    with pytest.raises(ValueError, match=r"source final_export: reader.root is no folder: /nowhere"):
        build_index([shelf(a=[{}]), FinalExport(root="/nowhere")], tmp_path)
