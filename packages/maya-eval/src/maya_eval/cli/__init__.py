"""The `maya-eval` command: one file a sub-command, each of which adds its parser and answers with a status.

Exit status: 0 done, 1 a gate that is not passed, 2 input that cannot be used (one line on stderr says why).
"""

import argparse
import sys
from collections.abc import Sequence

from maya_eval import __version__
from maya_eval.cli import compare, gate, report, run, score

COMMANDS = (run, score, compare, report, gate)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns its exit status."""
    options = parser().parse_args(argv)
    try:
        return options.command(options) or 0
    except OSError as error:
        said = f"{error.filename}: {(error.strerror or '').lower()}" if error.filename else str(error)
        print(f"maya-eval: {said}", file=sys.stderr)
    except (ValueError, LookupError, ImportError) as error:
        print(f"maya-eval: {error}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    """Returns the parser with every sub-command."""
    top = argparse.ArgumentParser(prog="maya-eval", description="Scores speech recognition, from any system.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return top
