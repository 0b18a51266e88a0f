import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maya_train import preflight
from maya_train.errors import LaunchError
from maya_train.preflight import check_out, script_arguments, torchrun_environment, torchrun_handler

REPO = Path(__file__).parents[2]
SCRIPT = str(REPO / "packages" / "maya-train" / "run.py")


@pytest.mark.parametrize(
    ("argv", "arguments"),
    [
        (["/bin/fabric", "run", SCRIPT, "--devices", "8"], []),
        (["fabric", "run", "--devices", "8", SCRIPT, "stage=joint"], ["stage=joint"]),
        (["fabric", "run", SCRIPT, "a=1", "--main_port=1", "--precision", "bf16", "b=2"], ["a=1", "b=2"]),
        (["fabric", "run", SCRIPT, "--configs", "dir", "a=1"], ["--configs", "dir", "a=1"]),
        (["fabric", "run", SCRIPT, "--", "--devices", "2"], ["--devices", "2"]),
        (["torchrun", "--nproc_per_node", "2", SCRIPT, "a=1"], ["a=1"]),
        (["/x/torch/distributed/run.py", SCRIPT, "a=1"], ["a=1"]),
        (["fabric", "run", "elsewhere/run.py", "--devices", "8"], None),
        (["torchrun", "train.py"], None),
        (["python", SCRIPT], None),
        ([], None),
    ],
)
def test_only_a_launcher_of_our_script_is_looked_at(argv, arguments):
    assert script_arguments(argv) == arguments


def test_torchrun_s_process_count_is_known_before_it_starts(monkeypatch):
    monkeypatch.delenv("LT_CLI_USED", raising=False)
    found = torchrun_environment(["torchrun", "--nproc_per_node=2", "--nnodes", "3", SCRIPT])
    assert (found["LOCAL_WORLD_SIZE"], found["WORLD_SIZE"]) == ("2", "6")
    assert torchrun_environment(["torchrun", "--nproc_per_node", "auto", SCRIPT]) == {}


def test_another_command_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["torchrun", "train.py"])
    assert torchrun_handler() is preflight._no_rendezvous


def test_a_worker_does_not_check_a_second_time(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fabric", "run", SCRIPT, "nonsense"])
    monkeypatch.setenv("RANK", "1")
    assert torchrun_handler() is preflight._no_rendezvous


def test_a_wrong_config_ends_the_launcher_with_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fabric", "run", SCRIPT, "maxsteps=1"])
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SystemExit) as raised:
        torchrun_handler()
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert error == "command line: maxsteps: Key 'maxsteps' not in 'RunConfig'. Did you mean: 'max_steps'?\n"


@pytest.mark.skipif(torch.cuda.device_count() >= 8, reason="this machine has the GPUs")
def test_fabric_run_without_gpus_says_one_sentence_and_starts_nothing(tmp_path):
    fabric = Path(sys.executable).with_name("fabric")
    command = [fabric, "run", SCRIPT, "--devices", "8", "stage=joint", "projector=qformer"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LT_")}
    done = subprocess.run(
        command, cwd=REPO, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    have = torch.cuda.device_count()
    there = f"has {have}; add --devices {have}" if have else "has none; add --accelerator cpu"
    assert done.stderr == f"stage joint asks for 8 GPUs (accelerator: cuda), this machine {there}\n"
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(("exit_code", "status"), [(75, 75), (-9, 137)])
def test_the_launcher_leaves_with_the_status_of_the_worker_that_failed(
    monkeypatch, capsys, exit_code, status
):
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    left = []
    monkeypatch.setattr(preflight.os, "_exit", left.append)
    failure = ProcessFailure(local_rank=1, pid=9, exitcode=exit_code, error_file="none")
    preflight.leave_as_the_workers_did(
        sys.excepthook, ChildFailedError, ChildFailedError("x", {1: failure}), None
    )
    assert left == [status]
    assert "Traceback" not in capsys.readouterr().err
    preflight.leave_as_the_workers_did(lambda *_: left.append("shown"), KeyError, KeyError("bug"), None)
    assert left == [status, "shown"]


def test_a_file_that_a_command_could_not_write_is_refused_before_its_work() -> None:
    with pytest.raises(LaunchError, match=r"--out: /proc/x/table\.json cannot be written"):
        check_out(Path("/proc/x/table.json"))
