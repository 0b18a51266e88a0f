"""What the commands share: how one is added, and how a file is written."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[argparse.Namespace], int | None]


def command(commands: Any, name: str, run: Run) -> argparse.ArgumentParser:
    """Add a command that calls `run`; its docstring is the help."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    made.set_defaults(run=run)
    return made


def write(path: str, text: str) -> None:
    """Write a text file, making its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, "utf-8")
