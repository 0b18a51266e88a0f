"""The launcher: two real processes, and the one sentence that a machine without GPUs gets."""

import json
import time

import pytest
import torch

RUN = "packages/maya-train/run.py"
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def fabric(run, *arguments: str):
    started = time.monotonic()
    done = run("fabric", "run", RUN, *arguments)
    return done, time.monotonic() - started


def test_two_processes_train_one_stage(quick_demo, run, tmp_path):
    done, _ = fabric(
        run,
        *("--accelerator", "cpu", "--devices", "2", "recipe=demo", "stage=encoder", "max_steps=4"),
        *(f"out_dir={tmp_path}/encoder", f"run_dir={quick_demo}", "loss.rnnt_from=0", "valid_every=0"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "encoder" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert (tmp_path / "encoder" / "model" / "model.safetensors").is_file()


@no_gpu
@pytest.mark.parametrize(
    ("arguments", "stage"),
    [
        (("--devices", "8"), "init"),
        (("--devices", "8", "stage=joint", "projector=qformer"), "joint"),
    ],
)
def test_without_gpus_the_full_recipe_ends_in_one_sentence(run, arguments, stage):
    done, seconds = fabric(run, *arguments)
    assert done.returncode == 2
    expected = (
        f"stage {stage} asks for 8 GPUs (accelerator: cuda), this machine has none; add --accelerator cpu"
    )
    assert done.stderr.count(expected) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert seconds < 30


def test_a_mistyped_key_is_named_once_by_the_launcher(run):
    done, seconds = fabric(run, "--accelerator", "cpu", "--devices", "2", "recipe=demo", "maxsteps=4")
    assert done.returncode == 2
    assert done.stderr.count("maxsteps") <= 2
    assert "Did you mean" in done.stderr
    assert "max_steps" in done.stderr
    assert seconds < 30
