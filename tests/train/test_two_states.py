"""Training state of two processes: exact resume with batch statistics, another world, shares, full disks."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric

from maya_train.metrics_log import read_steps

SCRIPT = Path(__file__).parent / "two_states.py"


@pytest.fixture(scope="module")
def script() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes leave."""
    out_dir = tmp_path_factory.mktemp("two-states")
    ended = subprocess.run(
        [sys.executable, SCRIPT, out_dir],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out_dir


def values(out_dir: Path, name: str = "metrics.jsonl") -> dict[int, dict[str, Any]]:
    return {
        step: {k: v for k, v in line.items() if k != "time"}
        for step, line in read_steps(out_dir / name).items()
    }


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def test_a_stopped_run_ends_bit_for_bit_as_a_whole_one(done: Path) -> None:
    assert values(done / "stopped") == values(done / "whole")
    assert values(done / "stopped", "validation.jsonl") == values(done / "whole", "validation.jsonl")
    for rank in (0, 1):
        whole, stopped = load(done / f"whole-{rank}.pt"), load(done / f"stopped-{rank}.pt")
        assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_batch_statistics_are_one_mean_in_validation_state_and_model(done: Path) -> None:
    ranks = [load(done / f"seen-{rank}.pt") for rank in (0, 1)]
    for one, two in zip(*ranks, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    folder = done / "whole" / "checkpoints" / "step-6"
    own = [load(folder / f"rank-{rank}.pt")["statistics"] for rank in (0, 1)]
    saved, model = load(folder / "state.pt")["model"], load(done / "whole-1.pt")
    for name in (name for name in saved if "running" in name):
        assert not torch.equal(own[0][name], own[1][name])
        torch.testing.assert_close(saved[name], (own[0][name] + own[1][name]) / 2)
        assert torch.equal(saved[name], model[name])
        assert torch.equal(saved[name], ranks[0][1][name])


def test_one_process_with_accumulation_equals_two_for_twenty_steps(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path, done: Path
) -> None:
    two = values(done / "twenty")
    stand_in.train(fabric, tmp_path / "one", stand_in.normed(), grad_accum=2, max_steps=20)
    shutil.copytree(done / "twenty", tmp_path / "went-on")
    for step in (10, 12, 14, 16, 18, 20):
        shutil.rmtree(tmp_path / "went-on" / "checkpoints" / f"step-{step}", ignore_errors=True)
    stand_in.train(fabric, tmp_path / "went-on", stand_in.normed(), grad_accum=2, max_steps=20)

    assert list(two) == list(range(1, 21))
    for other in (values(tmp_path / "one"), values(tmp_path / "went-on")):
        for step, line in two.items():
            assert other[step]["loss"] == pytest.approx(line["loss"], rel=1e-5)
            assert (other[step]["tokens"], other[step]["audio_seconds"]) == (
                line["tokens"],
                line["audio_seconds"],
            )


def test_a_full_disk_of_one_stops_both_with_one_sentence(done: Path) -> None:
    said = [(done / f"full-{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert "earlier ones are whole" in said[0]
    assert list((done / "full" / "checkpoints").iterdir()) == []


def test_shares_of_two_processes_are_put_together_by_one(
    script: SimpleNamespace, fabric: Fabric, done: Path
) -> None:
    assert (done / "sharded-True" / "checkpoints" / "step-3" / "shards" / "__1_0.distcp").is_file()
    module = script.model()
    optimizer, state = script.sharded_state(fabric, done / "sharded-False", module)
    resumed = state.resume(print)

    assert resumed is not None
    assert resumed.random is None
    expected = load(done / "at-3-0.pt")["model"]
    for name, value in module.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(value, expected[name])
    moments = optimizer.state_dict()["state"]
    assert {key: tuple(value.shape) for key, value in moments[0].items()}["exp_avg"] == (5, 3)
    assert all(of["step"] == 3 for of in moments.values())
    assert all(of["exp_avg"].abs().sum() > 0 for of in moments.values())
    script.learn(module, optimizer, state, range(3, 5))
    state.save(5, {"step": 5})
    state.wait()


def test_a_damaged_share_is_passed_over(
    script: SimpleNamespace, fabric: Fabric, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(done / "sharded-True", tmp_path / "torn")
    share = tmp_path / "torn" / "checkpoints" / "step-3" / "shards" / "__1_0.distcp"
    content = bytearray(share.read_bytes())
    content[len(content) // 2] ^= 1
    share.write_bytes(content)

    assert script.sharded_state(fabric, tmp_path / "torn", script.model())[1].resume(print) is None
    assert "shards/__1_0.distcp is damaged" in capsys.readouterr().out
