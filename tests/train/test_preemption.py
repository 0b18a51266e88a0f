"""Signals outside of a stage's loop: in the launcher, and before and between stages."""

import os
import signal
import subprocess
import sys

import pytest

from maya_train import preflight
from maya_train.preemption import FORWARDED, pass_on_signals


@pytest.mark.parametrize("number", ["SIGTERM", "SIGUSR1"])
def test_a_signal_before_the_loop_leaves_at_once_with_75(number: str) -> None:
    code = (
        "import signal, sys, time; from maya_train import cli\n"
        f"cli.prepare_or_exit = lambda *_: signal.raise_signal(signal.{number}) or time.sleep(9)\n"
        "sys.exit(cli.main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (75, b"")


@pytest.mark.parametrize("given", [None, "SIGTERM,SIGHUP"])
def test_the_launcher_passes_all_signals_on(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    if given is None:
        monkeypatch.delenv(FORWARDED, raising=False)
    else:
        monkeypatch.setenv(FORWARDED, given)
    pass_on_signals()

    assert {"SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"} <= set(os.environ[FORWARDED].split(","))


def test_a_launcher_that_was_told_to_stop_leaves_with_75(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException

    left: list[int] = []
    monkeypatch.setattr(preflight.os, "_exit", left.append)
    error = SignalException("got signal", signal.SIGUSR1)
    preflight.leave_as_the_workers_did(sys.excepthook, SignalException, error, None)

    assert left == [75]
    assert capsys.readouterr().err == ""
