"""Batches depend on seed, epoch and position alone: any start, any workers, any number of ranks, a kill."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from maya_data.loading.loader import build_loader

WIDTH = 8
KILLED = """
import json, sys
from pathlib import Path
from maya_data.loading.loader import build_loader
folder = Path(sys.argv[1])
loader = build_loader(json.loads((folder / "config.json").read_text()))
if (folder / "state.json").exists():
    loader.load_state_dict(json.loads((folder / "state.json").read_text()))
for batch in loader:
    line = [batch.epoch, batch.step, batch.ids, batch.waveforms.long().sum().item()]
    with open(folder / "seen.jsonl", "a") as seen:
        seen.write(json.dumps(line) + "\\n")
    (folder / "state.new").write_text(json.dumps(loader.state_dict()))
    (folder / "state.new").rename(folder / "state.json")
"""


def _config(index, **changes):
    plan = {"batch_duration": 2.0, "sync_width": WIDTH, "seed": 3}
    plan |= changes.pop("plan", {})
    return {"index": str(index.path), "plan": plan, **changes}


def _digest(batch):
    text = json.dumps([batch.epoch, batch.ids, batch.texts, batch.langs, batch.waveform_lens.tolist()])
    return hashlib.sha256(text.encode() + batch.waveforms.numpy().tobytes()).hexdigest()


def _take(loader, number):
    with loader:
        return [(_digest(batch), batch.epoch, batch.step) for batch in islice(loader, number)]


@pytest.fixture(scope="module")
def whole(index):
    """Two epochs and a half, uninterrupted, in one process."""
    loader = build_loader(_config(index))
    return _take(loader, len(loader) * 5 // 2)


def test_resume_at_every_position_gives_the_same_bytes(index, whole):
    config = _config(index)
    first, second = build_loader(config), build_loader(config)
    for position in range(len(whole) - 1):
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        batch = next(second)
        assert (_digest(batch), batch.epoch, batch.step) == whole[position]
        assert _digest(next(first)) == whole[position][0]
    third = build_loader(config)
    third.load_state_dict(first.state_dict())
    assert _take(third, 1) == whole[-1:]


def test_epochs_differ_and_each_has_its_length(index, whole):
    length = len(build_loader(_config(index)))
    assert [(epoch, step) for _, epoch, step in whole] == [divmod(n, length) for n in range(len(whole))]
    assert {digest for digest, *_ in whole[:length]}.isdisjoint(d for d, *_ in whole[length : 2 * length])


@pytest.mark.parametrize("num_workers", [0, 1, 2, 4])
def test_workers_do_not_change_the_batches(index, whole, num_workers):
    loader = build_loader(_config(index, num_workers=num_workers, prefetch=3))
    assert _take(loader, len(whole)) == whole


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_number_of_ranks_does_not_change_the_batches(index, whole, world_size):
    loaders = [build_loader(_config(index), rank, world_size) for rank in range(world_size)]
    assert {len(loader) for loader in loaders} == {len(loaders[0])}
    steps = [[_digest(next(loader)) for loader in loaders] for _ in range(len(whole) // world_size)]
    read = [digest for step in steps for digest in step]
    assert read == [digest for digest, *_ in whole][: len(read)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_state_counts_batches_given_out_not_read_ahead(index, whole, num_workers):
    with build_loader(_config(index, num_workers=num_workers, prefetch=4)) as loader:
        assert _take(loader, 3) == whole[:3]
        state = loader.state_dict()
        assert (loader.epoch, loader.step) == (state["epoch"], state["step"]) == (0, 3)
        assert _take(loader, 2) == whole[3:5]
        loader.load_state_dict(state)
        assert _take(loader, 2) == whole[3:5]
        rest = len(loader) - loader.step
        assert _take(loader, rest)[-1] == whole[rest + 4]
        assert (loader.epoch, loader.step) == (1, 0)


def test_state_is_a_few_numbers_and_digests(index):
    state = build_loader(_config(index)).state_dict()
    assert {*state} == {"version", "epoch", "step", "world_size", "mask", "parts"}
    assert len(json.dumps(state)) < 500


@pytest.mark.parametrize(("old", "new"), [(8, 4), (8, 1), (4, 2), (2, 4), (1, 8)])
def test_other_number_of_ranks_goes_on_with_the_same_samples(index, whole, old, new):
    before = build_loader(_config(index), 0, old)
    list(islice(before, max(new // old, 1)))
    done = before.step * old
    loaders = [build_loader(_config(index), rank, new) for rank in range(new)]
    for loader in loaders:
        loader.load_state_dict(before.state_dict())
    read = [_digest(next(loader)) for loader in loaders]
    assert read == [digest for digest, *_ in whole][done : done + new]


def test_state_inside_a_step_of_more_ranks_reads_that_step_again_and_says_so(index, whole):
    before = build_loader(_config(index))
    list(islice(before, 11))
    after = build_loader(_config(index), rank=5, world_size=8)
    with pytest.warns(UserWarning, match="stands 3 batches into a step of 8 ranks; these are read again"):
        after.load_state_dict(before.state_dict())
    assert _digest(next(after)) == whole[8 + 5][0]


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        ({"seed": 4}, "the seed differs"),
        ({"mix": {"alpha": 0.1}}, "the mix differs"),
        ({"filter": {"langs": ["en", "hi"]}}, "the filter"),
        ({"batch_duration": 2.5}, "the shape of the batches differs"),
    ],
)
def test_state_of_another_plan_is_refused_with_the_part_that_differs(index, plan, what):
    state = build_loader(_config(index)).state_dict()
    with pytest.raises(ValueError, match=what):
        build_loader(_config(index, plan=plan)).load_state_dict(state)


def test_state_of_another_index_is_refused(index, small_index):
    state = build_loader(_config(index)).state_dict()
    with pytest.raises(ValueError, match="the index differs"):
        build_loader(_config(small_index, plan={"sync_width": 1})).load_state_dict(
            state | {"parts": state["parts"]}
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "version 9, this package reads 1"),
        ({"epoch": None}, "has no 'epoch'"),
        ({"step": -1}, "has step -1, which cannot be"),
        ({"step": 10_000}, "has step 10000; the epoch has"),
        ({"world_size": 0}, "has world_size 0, which cannot be"),
        ({"epoch": "one"}, "has epoch 'one', which cannot be"),
    ],
)
def test_what_is_no_state_is_refused(index, change, message):
    loader = build_loader(_config(index))
    state = {k: v for k, v in (loader.state_dict() | change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)
    assert (loader.epoch, loader.step) == (0, 0)


def _start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _seen(folder):
    path = folder / "seen.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _wait_for(folder, lines, process):
    for _ in range(600):
        if len(_seen(folder)) >= lines:
            return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError(f"{len(_seen(folder))} batches in 30 s")


def _children(pid):
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def _gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_kill_in_mid_epoch_and_restart_give_the_remaining_batches(index, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(_config(index, num_workers=2)))
    workers = []
    for lines in (3, 30):
        process = _start(tmp_path)
        try:
            _wait_for(tmp_path, lines, process)
            workers += _children(process.pid)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    seen = _seen(tmp_path)
    expected = build_loader(_config(index))
    uninterrupted = [
        [batch.epoch, batch.step, batch.ids, batch.waveforms.long().sum().item()]
        for batch in islice(expected, len(seen))
    ]
    # A batch that was written down just before its state was may have come twice.
    assert [line for n, line in enumerate(seen) if line not in seen[:n]] == uninterrupted[
        : len({*map(str, seen)})
    ]
    assert len(seen) - len({*map(str, seen)}) <= 2
    deadline = time.monotonic() + 15
    while not all(map(_gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) == 4
    assert all(map(_gone, workers)), "loader processes have outlived the run"
    assert os.getpid() not in workers


@pytest.fixture(scope="module")
def small_index(write_shard, tmp_path_factory):
    from maya_data.indexing.build import build_index
    from maya_data.readers.final_export import FinalExport

    root = tmp_path_factory.mktemp("small")
    write_shard(root / "lang=en" / "000", [0.5] * 12)
    return build_index(FinalExport(root=str(root)), tmp_path_factory.mktemp("index"))
