"""Damaged and missing audio, processes that die, and the quarantine of a running loader."""

import json
import os
import shutil
import signal
import struct
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from maya_data.audio.fetch import CorruptAudio, read_audio
from maya_data.indexing.build import build_index
from maya_data.loading import rescue
from maya_data.loading.loader import build_loader, iter_once, make_loader
from maya_data.loading.mask import merge_ledgers
from maya_data.loading.quarantine import TooManyBadSegments, read_ledger
from maya_data.loading.reading import Job, Reader
from maya_data.loading.stream import LoaderProcessDied
from maya_data.planning.plan import Plan, PlanConfig
from maya_data.readers.final_export import FinalExport


@pytest.fixture
def damaged(corpus, tmp_path):
    """A copy of the corpus whose Tamil audio is all zeros."""
    shutil.copytree(corpus, tmp_path / "root")
    made = build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")
    path = tmp_path / "root" / "lang=ta" / "000" / "audio.tar"
    path.write_bytes(bytes(path.stat().st_size))
    return made


def test_corrupt_segments_are_dropped_and_written_down(damaged, tmp_path):
    plan = Plan(damaged, PlanConfig(batch_duration=3))
    ledger = tmp_path / "ledger.jsonl"
    batches = list(islice(make_loader(damaged, plan, ledger=ledger), plan.num_steps()))
    assert {lang for batch in batches for lang in batch.langs} == {"en", "hi"}
    bad = list(read_ledger(ledger))
    assert {line["id"][:3] for line in bad} == {"ta-"}
    assert {*bad[0]} == {"id", "shard", "offset", "error", "step"}


def test_batch_without_any_good_segment_takes_one_of_like_duration(damaged):
    plan = Plan(damaged, PlanConfig(batch_duration=3, max_batch_size=1))
    bad = [step for step in plan.steps(0) if damaged.row(plan.batch(0, step)[0]).lang == "ta"]
    for step in bad:
        batch = next(make_loader(damaged, plan, start_step=step))
        wanted = damaged.row(plan.batch(0, step)[0]).duration
        assert (batch.num_utterances, batch.step) == (1, step)
        assert batch.langs != ["ta"]
        assert wanted / 1.25 <= batch.durations[0] <= wanted * 1.0001


def _damaged_config(index, **changes):
    plan = {"batch_duration": 3, "max_batch_size": 1, "sync_width": 8, "seed": 1}
    return {"index": str(index.path), "plan": plan, "max_bad_fraction": 1, **changes}


@pytest.mark.parametrize(("num_workers", "world_size"), [(0, 2), (2, 1), (1, 4), (0, 8)])
def test_spares_depend_on_neither_workers_nor_ranks(damaged, num_workers, world_size):
    whole = list(islice(build_loader(_damaged_config(damaged)), 64))
    assert any(batch.ids[0][:3] != "ta-" for batch in whole)
    for rank in range(world_size):
        with build_loader(_damaged_config(damaged, num_workers=num_workers), rank, world_size) as loader:
            ranks = list(islice(loader, 64 // world_size))
        assert [batch.ids for batch in ranks] == [batch.ids for batch in whole[rank::world_size]]


def test_damaged_segment_does_not_shift_the_order(index, damaged):
    config = {"plan": {"batch_duration": 3}, "max_bad_fraction": 1}
    good, bad = (build_loader({"index": each.path, **config}) for each in (index, damaged))
    for whole, rest in islice(zip(good, bad, strict=True), 2 * len(good)):
        left = [name for name in whole.ids if not name.startswith("ta-")]
        assert rest.ids == left or (not left and rest.num_utterances == 1)


def test_nothing_but_corrupt_audio_is_an_error(damaged):
    plan = Plan(damaged, {"batch_duration": 3, "filter": {"langs": ["ta"]}})
    with pytest.raises(CorruptAudio, match=r"the batch of epoch 0, step 0 can be decoded"):
        next(make_loader(damaged, plan))


def test_too_many_bad_segments_stop_the_run_with_any_workers(damaged):
    def met(num_workers):
        config = _damaged_config(damaged, num_workers=num_workers) | {
            "max_bad_fraction": 0.2,
            "bad_window": 10,
        }
        with build_loader(config) as loader, pytest.raises(TooManyBadSegments) as stopped:
            list(loader)
        return loader.epoch, loader.step, str(stopped.value)

    epoch, step, sentence = met(0)
    assert sentence.startswith("3 of the last ")
    assert met(2) == (epoch, step, sentence)


def test_shard_that_fails_as_a_whole_stops_the_run(damaged):
    config = _damaged_config(damaged, max_bad_shard=4)
    with pytest.raises(
        TooManyBadSegments, match=r"shard lang=ta/000/audio.tar has failed: its first 4 segments"
    ):
        list(build_loader(config))


def test_missing_shard_is_one_sentence_from_any_process(damaged):
    (damaged.root / "lang=ta" / "000" / "audio.tar").unlink()
    for num_workers in (0, 2):
        with pytest.raises(FileNotFoundError) as stopped:
            list(islice(build_loader(_damaged_config(damaged, num_workers=num_workers)), 200))
        assert "ta/000/audio.tar" in str(stopped.value)
        assert "\n" not in str(stopped.value)


def test_missing_file_of_its_own_is_one_bad_segment(tmp_path):
    from maya_data.readers.folder import Folder

    for name in "abcdef":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(8000, np.int16), 16000)
    (tmp_path / "t.csv").write_text("".join(f"{name}.wav|word\n" for name in "abcdef"))
    index = build_index(
        Folder(root=str(tmp_path), transcripts="t.csv", separator="|", lang="en"), tmp_path / "i"
    )
    (tmp_path / "c.wav").unlink()
    assert len({name for batch in iter_once(index, batch_size=2) for name in batch.ids}) == 5
    loaded = Reader(index, 16000, "asr-v1", read_audio, together=True)[Job(np.arange(6))]
    assert (loaded.batch.num_utterances, [i for i, _ in loaded.failures]) == (5, [2])
    assert "c.wav" in loaded.failures[0][1]


def test_loader_that_failed_goes_on_where_it_stands(index, corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "root")
    config = {
        "index": index.path,
        "root": str(tmp_path / "root"),
        "plan": {"batch_duration": 3},
        "num_workers": 2,
    }
    whole = list(islice(build_loader(config), 6))
    loader = build_loader(config | {"num_workers": 0})
    assert [next(loader).ids for _ in range(2)] == [batch.ids for batch in whole[:2]]
    for tar in (tmp_path / "root").rglob("*.tar"):
        tar.rename(tar.with_suffix(".gone"))
    from maya_data.audio import files

    files._open.cache_clear()
    with pytest.raises(FileNotFoundError):
        next(loader)
    for tar in (tmp_path / "root").rglob("*.gone"):
        tar.rename(tar.with_suffix(".tar"))
    assert [next(loader).ids for _ in range(4)] == [batch.ids for batch in whole[2:]]


def _children():
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(pid) for pid in pids}


def test_dead_loader_process_is_one_sentence(index):
    before = _children()
    with build_loader({"index": index.path, "plan": {"batch_duration": 3}, "num_workers": 2}) as loader:
        next(loader)
        victim = sorted(_children() - before)[0]
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(LoaderProcessDied) as died:
            list(loader)
    assert str(victim) in str(died.value)
    assert "num_workers" in str(died.value)
    assert "\n" not in str(died.value)


@pytest.fixture
def untold_of_deaths():
    """A process whose signals tell torch nothing of its children."""
    before = signal.getsignal(signal.SIGCHLD)
    yield lambda: signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGCHLD, before)


def test_processes_killed_in_the_middle_of_a_message_do_not_make_the_loader_wait_for_ever(
    index, monkeypatch, untold_of_deaths
):
    monkeypatch.setattr(rescue, "PATIENCE", 0.2)
    before = _children()
    with build_loader({"index": index.path, "plan": {"batch_duration": 3}, "num_workers": 2}) as loader:
        next(loader)
        untold_of_deaths()
        queue = loader._stream._loader._worker_result_queue
        if queue._wlock.acquire(timeout=1):  # else the pipe is full: one is in the middle of a message
            os.write(queue._writer.fileno(), struct.pack("!i", 20_000))  # a head whose body never comes
        for process in loader._stream._loader._workers:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        with pytest.raises(LoaderProcessDied):
            list(loader)
    assert not _children() - before


@pytest.mark.parametrize("way", ["close", "with", "forget", "fail"])
def test_no_process_outlives_its_loader(index, way):
    before = _children()
    loader = build_loader({"index": index.path, "plan": {"batch_duration": 3}, "num_workers": 2})
    next(loader)
    assert len(_children() - before) == 2
    if way == "with":
        with loader:
            next(loader)
    elif way == "forget":
        del loader
    else:
        loader.close()
    if way == "fail":
        loader._receiver.quarantine.settle = None
        with pytest.raises(TypeError):
            next(loader)
    deadline = time.monotonic() + 10
    while _children() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _children() - before


def test_ranks_have_ledgers_of_their_own(damaged, tmp_path):
    config = _damaged_config(damaged, ledger=tmp_path / "logs" / "bad.jsonl")
    for rank in range(2):
        list(islice(build_loader(config, rank, 2), 24))
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "bad.rank0.jsonl",
        "bad.rank1.jsonl",
    ]
    list(islice(build_loader(config), 24))
    both = {
        line["id"] for rank in range(2) for line in read_ledger(tmp_path / "logs" / f"bad.rank{rank}.jsonl")
    }
    assert {line["id"] for line in read_ledger(tmp_path / "logs" / "bad.jsonl")} & both


@pytest.mark.parametrize("num_workers", [0, 2])
def test_quarantine_changes_only_at_the_start_of_an_epoch(damaged, tmp_path, num_workers):
    config = _damaged_config(damaged, ledger=tmp_path / "ledger.jsonl", num_workers=num_workers)
    config["plan"] |= {"filter": {"quarantine": "latest"}, "sync_width": 1}
    with build_loader(config) as loader:
        length = len(loader)
        first = [next(loader).step for _ in range(5)]
        merge_ledgers([_all_bad(damaged, tmp_path)], damaged.path)
        state = json.loads(json.dumps(loader.state_dict()))
        rest = [next(loader).ids for _ in range(length - 5)]
        assert (state["mask"], loader.epoch, loader.state_dict()["mask"]) == (0, 1, 1)
        ledgered = len((tmp_path / "ledger.jsonl").read_text().splitlines())
        second = [next(loader).ids for _ in range(len(loader))]
    assert first == list(range(5))
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == ledgered
    assert len(second) < length
    with build_loader(config) as again:  # it would begin with version 1, and its state says 0
        again.load_state_dict(state)
        assert [next(again).ids for _ in range(length - 5)] == rest
        assert [next(again).ids for _ in range(len(again))] == second


def _all_bad(index, folder):
    bad = [index.row(i) for i in range(len(index)) if index.name("lang", i) == "ta"]
    report = {"segments": len(index), "bad": [{"id": r.id, "shard": r.shard, "error": "zeros"} for r in bad]}
    (folder / "report.json").write_text(json.dumps(report))
    return folder / "report.json"


def test_fixed_version_of_the_quarantine_stays(damaged, tmp_path):
    merge_ledgers([_all_bad(damaged, tmp_path)], damaged.path)
    config = _damaged_config(damaged)
    config["plan"] |= {"filter": {"quarantine": 1}}
    loader = build_loader(config)
    assert loader.state_dict()["mask"] == 1
    assert not {batch.langs[0] for batch in islice(loader, 2 * len(loader))} & {"ta"}


def test_ranks_agree_on_the_quarantine_of_an_epoch(damaged, tmp_path, monkeypatch):
    store = torch.distributed.HashStore()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: store)
    config = _damaged_config(damaged)
    config["plan"] |= {"filter": {"quarantine": "latest"}}
    first = build_loader(config, 0, 2)
    merge_ledgers([_all_bad(damaged, tmp_path)], damaged.path)
    second = build_loader(config, 1, 2)  # comes after the merge, and follows the first
    assert first.state_dict() == second.state_dict()
    assert first.state_dict()["mask"] == 0
    assert len(first) == len(second)
