"""One quick demo for all tests that need data or a trained model; run again, it is reused."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(**extra: str) -> dict[str, str]:
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "TERM": "dumb"}
    outside_make = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return {**outside_make, **quiet, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **extra}


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a command in the root folder as a user would, with this environment's programs first."""

    def call(*command: str, env: dict[str, str] | None = None, timeout: float = 600, cwd: Path = ROOT):
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment(**(env or {})),
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


PROXIES = ("http_proxy", "https_proxy", "all_proxy")
OFFLINE = {
    **{name: "http://127.0.0.1:9" for proxy in PROXIES for name in (proxy, proxy.upper())},
    **{"no_proxy": "", "NO_PROXY": "", "HF_HUB_OFFLINE": "1"},
}
NO_COMPILER = {"CC": "/bin/false", "CXX": "/bin/false"}


@pytest.fixture(scope="session")
def quick_demo(run: Run) -> Path:
    """The folder that `make demo QUICK=1` leaves; once installed, it needs no network and no compiler."""
    done = run("make", f"{sys.prefix}/.installed", f"VENV={sys.prefix}", timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    done = run("make", "demo", "QUICK=1", f"VENV={sys.prefix}", env=OFFLINE | NO_COMPILER, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return ROOT / "runs" / "demo_quick"


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command without waiting for it, in a process group of its own."""
    started = []

    def call(*command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
