"""The command `maya-encoder`: one file for each of its commands."""

import argparse
import sys
from collections.abc import Sequence

import maya_encoder
from maya_encoder.cli import align, convert, info, transcribe

COMMANDS = (transcribe, align, convert, info)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; mistakes of the user end in one line and status 2."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"maya-encoder: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maya-encoder", description="Speech to text with CTC, RNNT and TDT heads."
    )
    parser.add_argument("--version", action="version", version=f"maya-encoder {maya_encoder.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
