"""The file of metrics: whole lines only, numbers that JSON knows, the last record of a step."""

import json
from pathlib import Path

from maya_train.metrics_log import MetricsLog, read_steps


def test_line_is_in_the_file_before_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.write({"step": 1, "loss": 2.0})

        assert json.loads(path.read_text()) == {"step": 1, "loss": 2.0}


def test_torn_line_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    with MetricsLog(path) as log:
        log.write({"event": "resume", "step": 1})

    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 1]


def test_number_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.write({"step": 1, "loss": float("nan"), "lr": {"encoder": float("inf")}})

    assert json.loads(path.read_text()) == {"step": 1, "loss": None, "lr": {"encoder": None}}


def test_repeated_step_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"event": "resume", "step": 0}\n{"step": 1, "loss": 3.0}\n')

    assert read_steps(path) == {1: {"step": 1, "loss": 3.0}}


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl", enabled=False) as log:
        log.write({"step": 1})

    assert not any(tmp_path.iterdir())
