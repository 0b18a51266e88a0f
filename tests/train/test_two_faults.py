"""Faults of one process among two: all skip together, go apart noticed, and wait no longer than allowed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.fabric import Fabric

from maya_train.faults_config import FaultsConfig
from maya_train.metrics_log import read_steps

SCRIPT = Path(__file__).parent / "two_faults.py"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What two processes leave, and what they have said."""
    out_dir = tmp_path_factory.mktemp("two-faults")
    ended = subprocess.run(
        [sys.executable, SCRIPT, out_dir],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    return SimpleNamespace(out_dir=out_dir, said=ended.stderr, status=ended.returncode)


def test_out_of_memory_on_one_rank_and_nan_on_the_other_are_skipped_by_both(
    done: SimpleNamespace,
    stand_in: SimpleNamespace,
    fabric: Fabric,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest is as in one process that skips the same steps."""
    monkeypatch.setenv("MAYA_TEST_FAULTS", "1")
    faults = FaultsConfig(inject=["nan_loss@2", "nan_loss@3", "nan_loss@5"])
    stand_in.train(fabric, tmp_path, stand_in.normed(), faults=faults, grad_accum=2)

    assert "step 2 is skipped: out of memory" in done.said
    two, one = read_steps(done.out_dir / "mixed" / "metrics.jsonl"), read_steps(tmp_path / "metrics.jsonl")
    assert [line["skipped"] for line in two.values()] == [0, 1, 2, 2, 3, 3]
    for step in (1, 4, 6):
        assert two[step]["tokens"] == one[step]["tokens"]
        assert two[step]["loss"] == pytest.approx(one[step]["loss"], rel=1e-5)


def test_the_utterances_of_both_ranks_are_written_down(
    done: SimpleNamespace, stand_in: SimpleNamespace
) -> None:
    lines = [json.loads(line) for line in (done.out_dir / "mixed" / "skipped.jsonl").read_text().splitlines()]
    assert [(line["step"], line["kind"]) for line in lines] == [
        (2, "out of memory"),
        (3, "not finite"),
        (5, "not finite"),
    ]
    nan = lines[1]["batches"]
    assert [batch["rank"] for batch in nan] == [0, 1]
    assert [batch["ids"] for batch in nan] == [stand_in.batch_number(number).ids for number in (4, 5)]


def test_ranks_with_other_weights_end_the_run_before_it_is_saved(done: SimpleNamespace) -> None:
    for rank in (0, 1):
        text = (done.out_dir / f"apart-{rank}.txt").read_text()
        assert text.startswith(
            "after step 2 the processes hold different weights: rank 1 from rank 0 in model."
        )
    assert not list((done.out_dir / "apart" / "checkpoints").glob("step-*"))


def test_a_hung_rank_ends_the_run_with_who_waits_for_whom(done: SimpleNamespace) -> None:
    assert done.status == 1, done.said
    assert done.said.count("no progress for") == 1, done.said
    assert (
        "no progress for 2.4 s: rank 0 waits in step 4 (adding up tokens) for rank 1, which stands in step 4"
        " (reading data); the stacks of all threads are in" in done.said
    )
    assert "before_reading" in (done.out_dir / "hung" / "stacks-rank-1.txt").read_text()
    assert "_sums" in (done.out_dir / "hung" / "stacks-rank-0.txt").read_text()
