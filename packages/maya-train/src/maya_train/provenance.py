"""What a stage was trained with, beside its config: git state, package versions, machine, command line.

`provenance.jsonl` gets a line at every start; `git.patch` holds what was not committed at the last one.
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "maya-train",
    "maya-data",
    "maya-encoder",
    "maya-bridge",
    "maya-eval",
    "torch",
    "lightning",
    "transformers",
    "sentencepiece",
    "numpy",
    "omegaconf",
    "lhotse",
    "soundfile",
    "deepspeed",
)
LARGEST_PATCH = 2**20
GIT_SECONDS = 20.0


def record(folder: Path) -> None:
    """Write down where this start of a stage comes from; the main process calls it."""
    folder.mkdir(parents=True, exist_ok=True)
    git = git_state(Path(__file__).parent)
    facts = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": sys.argv,
        **machine(),
        "git": git,
    }
    with (folder / "provenance.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
    if git is not None and git["dirty"]:
        patch = _git(Path(__file__).parent, "diff", "HEAD") or ""
        if len(patch) <= LARGEST_PATCH:
            (folder / "git.patch").write_text(patch, encoding="utf-8")


def machine() -> dict[str, Any]:
    """Versions and hardware."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "host": platform.node(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether anything was changed since, of the repository that `folder` is in, if any."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit.strip(), "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here
        return None
    return done.stdout if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
