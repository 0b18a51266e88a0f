"""The `maya-data` command: make, index, look at and tokenize speech data."""

import argparse
import sys
from collections.abc import Sequence

from maya_data.cli import bins, export, index, mix, quarantine, show, stats, synth, tokenizer, verify

COMMANDS = (synth, index, verify, stats, show, mix, bins, tokenizer, quarantine, export)
"""In the order of `maya-data --help`; each module has `add(commands)`."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="maya-data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on stderr and status 2."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except (ValueError, LookupError, ImportError, OSError, RuntimeError) as error:
        print(f"maya-data: {error}", file=sys.stderr)
        return 2
