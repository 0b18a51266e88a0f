"""One stage alone: trains on the data that is there, killed and started again it loses nothing."""

import json
import signal
import sys
import time
from pathlib import Path

RUN = "packages/maya-train/run.py"
STEPS = 14


def encoder_stage(out_dir: Path, *more: str) -> tuple[str, ...]:
    stage = ("recipe=demo_quick", "stage=encoder", f"out_dir={out_dir}", f"max_steps={STEPS}", "threads=1")
    return (sys.executable, RUN, *stage, "loss.rnnt_from=0.5", "valid_every=0", *more)


def metrics(out_dir: Path) -> list[dict]:
    path = out_dir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_step(out_dir: Path, step: int, process, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not any(line.get("step", 0) >= step for line in metrics(out_dir)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until, "the stage did not come so far in time"
        time.sleep(0.05)


def test_a_killed_stage_resumes_with_the_very_same_numbers(quick_demo, run, start, tmp_path):
    whole = run(*encoder_stage(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr[-3000:]
    expected = {line["step"]: line["loss"] for line in metrics(tmp_path / "whole") if "loss" in line}
    assert list(expected) == list(range(1, STEPS + 1))

    killed = start(*encoder_stage(tmp_path / "killed"))
    wait_for_step(tmp_path / "killed", 7, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = run(*encoder_stage(tmp_path / "killed"))
    assert again.returncode == 0, again.stderr[-3000:]
    lines = metrics(tmp_path / "killed")
    events = [line for line in lines if line.get("event") == "resume"]
    assert len(events) == 1
    assert events[0]["step"] % 5 == 0
    assert events[0]["step"] >= 5
    after = [line for line in lines[lines.index(events[0]) :] if "loss" in line]
    assert [line["step"] for line in after] == list(range(events[0]["step"] + 1, STEPS + 1))
    assert {line["step"]: line["loss"] for line in lines if "loss" in line} == expected
    config = (tmp_path / "whole" / "config.yaml").read_text()
    assert "max_steps: 14" in config


def test_the_saved_config_alone_reproduces_the_run(quick_demo, run, tmp_path):
    first = run(*encoder_stage(tmp_path / "first", "seed=7", "max_steps=3"))
    assert first.returncode == 0, first.stderr[-3000:]
    config = tmp_path / "first" / "config.yaml"
    again = run(sys.executable, RUN, f"config={config}", f"out_dir={tmp_path}/again")
    assert again.returncode == 0, again.stderr[-3000:]
    losses = [[line["loss"] for line in metrics(tmp_path / name)] for name in ("first", "again")]
    assert losses[0] == losses[1]


def test_a_checkpoint_of_another_recipe_is_refused(quick_demo, run, tmp_path):
    done = run(
        *(sys.executable, RUN, "recipe=demo_quick", "stage=align", f"out_dir={tmp_path}"),
        *(f"init_from={quick_demo}/encoder/model", "encoder.hidden_size=96", "max_steps=1"),
    )
    assert done.returncode == 2, done.stderr[-3000:]
    assert "hidden_size" in done.stderr or "96" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_without_its_predecessor_says_which_is_missing(quick_demo, run, tmp_path):
    inputs = (
        f"tokenizer={quick_demo}/tokenizer",
        f"data.index={quick_demo}/index/train",
        "data.valid_index=null",
    )
    done = run(sys.executable, RUN, "recipe=demo_quick", "stage=joint", f"run_dir={tmp_path}", *inputs)
    assert done.returncode == 2
    assert f"{tmp_path}/align/model" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_full_disk_ends_a_stage_in_one_sentence(quick_demo, run, tmp_path):
    command = " ".join(encoder_stage(tmp_path / "full", "max_steps=4", "save_every=2"))
    done = run("bash", "-c", f"trap '' XFSZ; ulimit -f 6000; exec {command}")
    assert done.returncode == 1, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr or "space" in done.stderr
    assert not list((tmp_path / "full" / "checkpoints").glob("step-*"))
