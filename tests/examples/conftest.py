"""Runs the commands of an example's README in a copy of its folder, as a user would."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "TERM": "dumb"}


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of an example's folder."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name))

    return copy


@pytest.fixture
def follow() -> Callable[..., str]:
    """Runs one block of commands of the README; what they print comes back."""

    def call(folder: Path, block: int = 0, **environment: str) -> str:
        readme = (folder / "README.md").read_text(encoding="utf-8")
        commands = re.findall(r"^```bash\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)[block]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=folder,
            env={**os.environ, **QUIET, "PATH": path, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call
