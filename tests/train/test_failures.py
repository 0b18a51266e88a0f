"""A run that cannot go on: one sentence from one process, no traceback, and its exit status."""

import errno
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import save_file

from maya_data.audio.fetch import CorruptAudio
from maya_encoder.checkpoint import system_errors
from maya_train import cli, stages
from maya_train.checkpoints import files
from maya_train.errors import ConfigError
from maya_train.launch import Launch
from maya_train.preemption import Preempted
from maya_train.schema import RunConfig
from maya_train.stages import run_stage
from maya_train.strategies import Capabilities
from maya_train.tasks import encoder_cache

Make = Callable[..., RunConfig]

TWO = """
import errno, os, sys, time
import torch
from maya_train import cli, launch, stages
from maya_train.errors import ConfigError
from maya_train.preemption import Preempted
from maya_train.schema import RunConfig
from maya_train.strategies.ddp import DDP

def chain(runs, fabric, capabilities):
    mode, rank = sys.argv[1], fabric.global_rank
    fabric.barrier()
    if mode == "all":
        raise ConfigError("a wrong key")
    if mode == "one" and rank == 1:
        raise OSError(errno.ENOSPC, "no room for rank 1")
    if mode == "preempted":
        time.sleep(0 if rank else 6)  # the launcher's watchdog looks every 5 seconds
        raise Preempted(3)
    while True:
        fabric.all_reduce(torch.ones(1))

stages.run_chain = chain
cfg = RunConfig(strategy=DDP(), lr={"encoder": 1, "ctc": 1, "rnnt": 1}, threads=1)
settled = launch.Launch(devices=2, num_nodes=1, accelerator="cpu", precision="32-true", by_fabric_cli=False)
sys.exit(cli.train(cli.Prepared([cfg], settled), os.environ))
"""


@pytest.mark.parametrize(
    ("mode", "status", "sentence"),
    [
        pytest.param("all", 2, "a wrong key", marks=pytest.mark.long),
        ("one", 1, "no room for rank 1"),
        ("preempted", 75, ""),
    ],
)
def test_of_two_processes_one_speaks(tmp_path: Path, mode: str, status: int, sentence: str) -> None:
    (tmp_path / "two.py").write_text(TWO)
    done = subprocess.run(
        [sys.executable, tmp_path / "two.py", mode], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if sentence:
        assert done.stderr.count(sentence) == 1


def train(monkeypatch: pytest.MonkeyPatch, cfg: RunConfig, error: BaseException) -> int:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(stages, "run_chain", fail)
    settled = Launch(devices=1, num_nodes=1, accelerator="cpu", precision="32-true", by_fabric_cli=False)
    threads = torch.get_num_threads()
    try:
        return cli.train(cli.Prepared([cfg], settled), {})
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (CorruptAudio("none of 1000 segments can be decoded"), 1, "none of 1000 segments can be decoded"),
        (FileNotFoundError("shard a.tar is gone"), 1, "shard a.tar is gone"),
        (
            FileNotFoundError("Caught FileNotFoundError in DataLoader.\nTraceback:\nFileNotFoundError: gone"),
            1,
            "gone",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (
            OSError(errno.EDQUOT, "quota"),
            1,
            "no room on the disk: quota; what is finished is kept, make room",
        ),
        (
            OSError(errno.EFBIG, "too big"),
            1,
            "no room on the disk: too big; what is finished is kept, make room",
        ),
        (ConfigError("no such key"), 2, "no such key"),
        (KeyboardInterrupt(), 130, "interrupted; what is finished is kept"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(
    make_config: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    sentence: str,
) -> None:
    assert train(monkeypatch, make_config(), error) == status
    said = capsys.readouterr().err
    assert said.startswith(sentence)
    assert said.count("\n") == 1


def test_a_mistake_of_the_program_keeps_its_traceback(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyError):
        train(monkeypatch, make_config(), KeyError("bug"))


def test_a_preempted_run_ends_with_75(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(monkeypatch, make_config(), Preempted(3)) == 75


def test_a_broken_validation_index_is_a_sentence(fabric: Fabric, make_config: Make, tmp_path: Path) -> None:
    cfg = make_config()
    cfg.data.valid_index = str(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"stage acoustic: .*nowhere"):
        run_stage(cfg, fabric, Capabilities())


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow over 300 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_every_writer_says_that_the_disk_is_full(fabric: Fabric, tmp_path: Path) -> None:
    big = {"big": torch.zeros(100_000)}
    with pytest.raises(OSError, match="File too large") as state:
        files.write(tmp_path / "state.pt", big)
    with pytest.raises(OSError, match="File too large") as weights, system_errors(tmp_path):
        save_file(big, tmp_path / "model.safetensors")
    loud = SimpleNamespace(ids=["a"], to=lambda device: loud)
    with pytest.raises(OSError, match="File too large") as cache:
        encoder_cache.fill(
            fabric, tmp_path, [lambda: loud], lambda _: (torch.ones(1, 1000, 300), torch.tensor([1000]), None)
        )
    assert {found.value.errno for found in (state, weights, cache)} == {errno.EFBIG}
