"""A batch system's signal to the launcher: its two processes save, and all leave with a status to requeue."""

import json
import signal
import time
from pathlib import Path

RUN = "packages/maya-train/run.py"


def steps(out_dir: Path) -> list[int]:
    path = out_dir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [line["step"] for line in map(json.loads, lines) if "loss" in line]


def begun(start, quick_demo, out_dir, port):
    """Two processes under `fabric run` that have taken some steps."""
    command = (
        *("fabric", "run", RUN, "--accelerator", "cpu", "--devices", "2", "--main-port", port),
        *("recipe=demo_quick", "stage=encoder", f"run_dir={quick_demo}", f"out_dir={out_dir}"),
        *("loss.rnnt_from=0", "valid_every=0", "data.sync_width=2", "save_every=1000", "threads=1"),
    )
    process, until = start(*command, "max_steps=4000"), time.monotonic() + 120
    while len(steps(out_dir)) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


def test_sigusr1_to_the_launcher_saves_and_ends_with_75(quick_demo, start, tmp_path):
    process = begun(start, quick_demo, tmp_path / "run", "29533")
    process.send_signal(signal.SIGUSR1)

    assert process.wait(60) == 75
    reached = steps(tmp_path / "run")[-1]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"step-{reached}"]
    time.sleep(2)
    assert steps(tmp_path / "run")[-1] == reached  # nobody was left behind


def test_a_launcher_that_is_killed_leaves_no_process_behind(quick_demo, start, tmp_path):
    process = begun(start, quick_demo, tmp_path / "run", "29535")
    process.kill()
    process.wait(60)

    time.sleep(3)
    reached = steps(tmp_path / "run")[-1]
    time.sleep(2)
    assert steps(tmp_path / "run")[-1] == reached
