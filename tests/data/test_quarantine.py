"""The ledger, the limits at which a run stops, and the versions of an index's quarantine."""

import argparse
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maya_data.cli import quarantine as command
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.loading.mask import latest_version, merge_ledgers, quarantined_rows
from maya_data.loading.quarantine import Quarantine, TooManyBadSegments, read_ledger
from maya_data.readers.final_export import FinalExport


@pytest.fixture
def own(index, tmp_path):
    """A copy of the index, into which a quarantine may be written."""
    shutil.copytree(index.path, tmp_path / "own")
    return open_index(tmp_path / "own")


def _ledger(path, index, rows):
    quarantine = Quarantine(ledger=path, max_bad_fraction=1.0)
    for row in rows:
        quarantine.record(index, row, ValueError(f"bad {row}"), step=3)
    return path


def _rows(index, version):
    return quarantined_rows(index, version).tolist()


def test_ledger_line_says_what_where_why_and_when(index, tmp_path):
    (line,) = read_ledger(_ledger(tmp_path / "deep" / "ledger.jsonl", index, [5]))
    row = index.row(5)
    assert line == {
        "id": row.id,
        "shard": row.shard,
        "offset": row.offset,
        "error": "bad 5",
        "step": 3,
    }


def test_each_segment_is_read_from_a_ledger_once(index, tmp_path):
    path = _ledger(tmp_path / "ledger.jsonl", index, [1, 2, 1])
    assert len(path.read_text().splitlines()) == 3
    assert [line["error"] for line in read_ledger(path)] == ["bad 1", "bad 2"]


def test_line_that_a_killed_process_left_unfinished_is_passed_over(index, tmp_path):
    path = _ledger(tmp_path / "ledger.jsonl", index, [1, 2])
    os.truncate(path, path.stat().st_size - 20)
    assert len(list(read_ledger(path))) == 1
    _ledger(path, index, [3])
    assert [line["error"] for line in read_ledger(path)] == ["bad 1", "bad 3"]


def test_line_separators_inside_a_message_do_not_end_a_line(index, tmp_path):
    quarantine = Quarantine(ledger=tmp_path / "ledger.jsonl")
    quarantine.record(index, 0, ValueError("a\u2028b\nc"), step=0)
    assert [line["error"] for line in read_ledger(quarantine.ledger)] == ["a\u2028b\nc"]


@pytest.mark.parametrize("text", ["id,shard\n", '{"segments": 3}\n', "[1]\n"])
def test_file_that_is_no_ledger_is_refused_with_its_line(tmp_path, text):
    (tmp_path / "other").write_text(text)
    with pytest.raises(ValueError, match=r"other, line 1: not a line of a ledger"):
        list(read_ledger(tmp_path / "other"))


def test_disk_full_is_said(index):
    with pytest.raises(OSError, match="No space left"):
        Quarantine(ledger=Path("/dev/full")).record(index, 0, ValueError("bad"), 0)


def test_more_bad_segments_than_the_share_of_a_window_stop_the_run(index):
    quarantine = Quarantine(max_bad_fraction=0.1, window=50)
    for _ in range(5):
        quarantine.record(index, 0, ValueError("bad"), 3)
    with pytest.raises(
        TooManyBadSegments,
        match=r"6 of the last 6 segments are unusable, more than 10.0% of 50; last: bad 9",
    ):
        quarantine.record(index, 1, ValueError("bad 9"), 3)


def test_bad_segments_that_the_window_has_left_behind_do_not_count(index):
    quarantine = Quarantine(max_bad_fraction=0.1, window=50)
    for _ in range(20):
        for _ in range(19):
            quarantine.admit()
        quarantine.record(index, 0, ValueError("bad"), 3)
    assert (quarantine.seen, quarantine.bad) == (50, 3)


def test_long_run_of_good_segments_does_not_hide_a_disk_that_fails(index):
    quarantine = Quarantine()
    quarantine.settle(index, [0] * 1_000_000, [], 0)
    with pytest.raises(TooManyBadSegments, match="101 of the last"):
        quarantine.settle(index, [0] * 101, [(0, "bad")] * 101, 1)


def test_no_bad_segment_is_borne_where_none_is_allowed(index):
    with pytest.raises(TooManyBadSegments):
        Quarantine(max_bad_fraction=0).record(index, 0, ValueError("bad"), 0)


def test_shard_without_any_good_segment_stops_the_run(index):
    first = [i for i in range(len(index)) if index.name("shard", i) == index.name("shard", 0)]
    quarantine = Quarantine(max_bad_fraction=1, max_bad_shard=5)
    for i in first[:4] * 3:
        quarantine.record(index, i, ValueError("bad"), 0)
    with pytest.raises(TooManyBadSegments) as stopped:
        quarantine.record(index, first[4], ValueError("truncated"), 0)
    assert str(stopped.value) == (
        f"shard {index.name('shard', 0)} has failed: its first 5 segments are all unusable; last: truncated"
    )


def test_shard_with_a_good_segment_between_goes_on(index):
    first = [i for i in range(len(index)) if index.name("shard", i) == index.name("shard", 0)]
    quarantine = Quarantine(max_bad_fraction=1, max_bad_shard=5)
    for i in first[:4]:
        quarantine.record(index, i, ValueError("bad"), 0)
    quarantine.settle(index, [first[4]], [], 0)
    for i in first[5:9]:
        quarantine.record(index, i, ValueError("bad"), 0)
    assert quarantine.bad == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_bad_fraction", 1.5), ("max_bad_fraction", -1), ("window", 0), ("max_bad_shard", 0)],
)
def test_impossible_limits_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}`"):
        Quarantine(**{name: value})


def test_merge_makes_versions_that_hold_those_before(own, tmp_path):
    assert latest_version(own.path) == 0
    assert _rows(own, 0) == []
    first = merge_ledgers([_ledger(tmp_path / "0", own, [7, 3]), _ledger(tmp_path / "1", own, [3])], own.path)
    second = merge_ledgers([_ledger(tmp_path / "2", own, [3, 60])], own.path)
    assert (first.version, first.segments, first.added) == (1, 2, 2)
    assert (second.version, second.segments, second.added) == (2, 3, 1)
    assert [_rows(own, version) for version in (1, 2)] == [[3, 7], [3, 7, 60]]
    assert sorted(path.name for path in (own.path / "quarantine").iterdir()) == [
        "0001.parquet",
        "0002.parquet",
    ]


def test_merge_of_what_is_known_writes_nothing(own, tmp_path):
    ledger = _ledger(tmp_path / "ledger", own, [7])
    merge_ledgers([ledger], own.path)
    assert merge_ledgers([ledger], own.path)[:3] == (1, 1, 0)
    assert latest_version(own.path) == 1


def test_ids_that_the_index_lacks_are_told(own, tmp_path):
    lines = [
        {"id": "gone", "shard": "x.tar", "error": "bad"},
        {"id": own.row(4).id, "shard": "x.tar", "error": "b"},
    ]
    (tmp_path / "ledger").write_text("".join(json.dumps(line) + "\n" for line in lines))
    merge = merge_ledgers([tmp_path / "ledger"], own.path)
    assert (merge.version, merge.added, merge.unknown) == (0, 0, sorted(["gone", own.row(4).id]))


def test_report_of_verify_is_merged_too(own, tmp_path):
    row = own.row(9)
    bad = [{"id": row.id, "shard": row.shard, "error": "crc"}]
    (tmp_path / "verify.json").write_text(json.dumps({"segments": 70, "bad": bad}, indent=1))
    merge_ledgers([tmp_path / "verify.json"], own.path)
    assert _rows(own, 1) == [9]


def test_quarantine_finds_its_segments_by_id_where_the_index_has_grown(own, corpus, write_shard, tmp_path):
    merge_ledgers([_ledger(tmp_path / "ledger", own, [7, 3])], own.path)
    shutil.copytree(corpus, tmp_path / "root")
    write_shard(tmp_path / "root" / "lang=bn" / "000", [0.3] * 5)  # comes first
    grown = build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "grown")
    shutil.copytree(own.path / "quarantine", grown.path / "quarantine")
    assert {grown.row(i).id for i in _rows(grown, 1)} == {own.row(i).id for i in (3, 7)}
    assert _rows(grown, 1) != [3, 7]


def test_version_that_is_not_there_is_refused(own, tmp_path):
    with pytest.raises(ValueError, match="no version 3 of its quarantine; there is none yet"):
        quarantined_rows(own, 3)
    merge_ledgers([_ledger(tmp_path / "ledger", own, [7])], own.path)
    with pytest.raises(ValueError, match="no version 3 of its quarantine; the newest is 1"):
        quarantined_rows(own, 3)


def test_damaged_version_is_refused_with_its_file(own, tmp_path):
    merge_ledgers([_ledger(tmp_path / "ledger", own, [7])], own.path)
    (own.path / "quarantine" / "0001.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"0001.parquet cannot be read"):
        quarantined_rows(own, 1)


def test_merges_at_the_same_time_lose_nothing(own, tmp_path):
    ledgers = [_ledger(tmp_path / str(row), own, [row]) for row in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda ledger: merge_ledgers([ledger], own.path), ledgers))
    assert _rows(own, latest_version(own.path)) == list(range(8))
    assert {path.suffix for path in (own.path / "quarantine").iterdir()} == {".parquet"}


def _run(*argv):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["quarantine", "merge", *map(str, argv)])
    return arguments.run(arguments)


def test_command_says_which_version_it_made(own, tmp_path, capsys):
    ledger = _ledger(tmp_path / "ledger", own, [7, 3])
    _run(own.path, ledger)
    _run(own.path, ledger)
    out = capsys.readouterr().out.splitlines()
    assert out == ["version 1: 2 segments, 2 of them new", "nothing new; version 1 with 2 segments stays"]


def test_command_names_a_ledger_that_is_not_there(own, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _run(own.path, tmp_path / "nowhere")
