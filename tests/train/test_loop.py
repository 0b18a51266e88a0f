"""The loop over a miniature task: normalisation, exact resume, skipping, and what it writes down."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from maya_train.loop import Diverged
from maya_train.metrics_log import read_steps
from maya_train.preemption import SIGNALS, Preempted, watch_signals


def values(out_dir: Path) -> dict[int, dict[str, Any]]:
    """What is logged of each step, but how long it took."""
    return {
        step: {k: v for k, v in line.items() if k != "time"}
        for step, line in read_steps(out_dir / "metrics.jsonl").items()
    }


def events(out_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "event" in line]


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def two_processes(stand_in: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three runs that two processes made."""
    out_dir = tmp_path_factory.mktemp("two")
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, stand_in.path, out_dir],
        env=environ,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out_dir


def test_loss_is_a_mean_over_tokens_of_all_batches(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    task = stand_in.StandIn()
    works = [task.prepare(stand_in.batch_number(number)) for number in range(3)]
    total = sum(task(work, SimpleNamespace(step=0)).loss_sum.item() for work in works)

    stand_in.train(fabric, tmp_path, grad_accum=3, max_steps=1)

    line = values(tmp_path)[1]
    tokens = sum(work.num_tokens for work in works)
    assert line["tokens"] == tokens
    assert line["loss"] == pytest.approx(total / tokens, rel=1e-6)


def test_killed_and_resumed_run_logs_what_a_whole_one_logs(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    noisy = {"validate": lambda moment: {"wer": float(torch.rand(()) + random.random() + np.random.rand())}}
    keys = {"valid_every": 1, "max_steps": 7}
    stand_in.train(fabric, tmp_path / "whole", stand_in.StandIn(dropout=0.5), **noisy, **keys)

    def kill(moment: Any) -> dict[str, float]:
        if moment.step == 5:
            raise Killed
        return {"wer": 0.0}

    with pytest.raises(Killed):
        stand_in.train(fabric, tmp_path / "parts", stand_in.StandIn(dropout=0.5), validate=kill, **keys)
    stand_in.train(fabric, tmp_path / "parts", stand_in.StandIn(dropout=0.5), **keys)

    assert values(tmp_path / "parts") == values(tmp_path / "whole")
    assert {"event": "resume", "step": 4} in events(tmp_path / "parts")


def test_signal_saves_and_ends_with_75(stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted) as stopped:
        stand_in.train(fabric, tmp_path, stand_in.Interrupted(rank=1))

    assert stopped.value.code == 75
    assert (tmp_path / "checkpoints" / "step-4" / "COMPLETE").is_file()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_asks_and_second_ends(number: signal.Signals) -> None:
    assert signal.SIGINT in SIGNALS
    with watch_signals() as flag:
        signal.raise_signal(number)
        assert flag.is_set
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(number)
    assert ended.value.code == 128 + number


def test_start_without_a_saved_state_begins_again_and_says_so(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    stand_in.train(fabric, tmp_path, max_steps=1)
    (tmp_path / "checkpoints" / "step-1" / "COMPLETE").unlink()
    stand_in.train(fabric, tmp_path, max_steps=1)

    assert events(tmp_path) == [{"event": "resume", "step": 0}]


def test_gradient_that_is_not_finite_is_skipped_and_counted(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    counters = stand_in.train(fabric, tmp_path, stand_in.StandIn(poison=(2, 0)))

    assert counters.skipped == 1
    assert values(tmp_path)[3]["loss"] is None
    assert values(tmp_path)[6]["loss"] > 0


def test_run_that_only_skips_gives_up(stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path) -> None:
    task = stand_in.StandIn()
    torch.nn.init.constant_(task.model["ctc"].weight, float("inf"))

    with pytest.raises(Diverged, match="stage toy: 10 steps in a row up to step 10 had no finite gradient"):
        stand_in.train(fabric, tmp_path, task, max_steps=10 + 5, save_every=100)


def test_module_before_its_loss_enters_stays_as_it_was(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    task = stand_in.StandIn(begin=3)
    before = task.model["ctc"].weight.detach().clone()
    stand_in.train(fabric, tmp_path, task, max_steps=3)

    assert torch.equal(task.model["ctc"].weight, before)
    assert [line["lr"]["ctc"] for line in values(tmp_path).values()] == [0.0, 0.0, 0.0]


def test_two_processes_learn_what_one_learns(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path, two_processes: Path
) -> None:
    stand_in.train(fabric, tmp_path, grad_accum=2)

    one, two = values(tmp_path), values(two_processes / "plain")
    assert one.keys() == two.keys()
    for step in one:
        assert two[step]["loss"] == pytest.approx(one[step]["loss"], rel=1e-5)
        assert two[step]["grad_norm"] == pytest.approx(one[step]["grad_norm"], rel=1e-4)
        assert (two[step]["tokens"], two[step]["long"]) == (one[step]["tokens"], one[step]["long"])


def test_all_processes_skip_where_one_has_no_finite_gradient(two_processes: Path) -> None:
    lines = values(two_processes / "poisoned")

    assert [line["skipped"] for line in lines.values()] == [0, 0, 1, 1, 1, 1]
    assert lines[6]["loss"] > 0


def test_signal_to_one_process_stops_all_and_the_resume_is_exact(two_processes: Path) -> None:
    assert values(two_processes / "stopped") == values(two_processes / "whole")
    assert {"event": "resume", "step": 4} in events(two_processes / "stopped")
