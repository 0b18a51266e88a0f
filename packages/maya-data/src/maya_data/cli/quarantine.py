"""`maya-data quarantine merge`: what loaders could not use, plans leave out from the next epoch on."""

import argparse
import sys
from typing import Any

from maya_data.cli.command import command


def add(commands: Any) -> None:
    """Add `maya-data quarantine merge`."""
    group = commands.add_parser("quarantine", help="segments that plans leave out").add_subparsers(
        required=True, metavar="COMMAND"
    )
    parser = command(group, "merge", merge)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument(
        "ledgers",
        nargs="+",
        metavar="LEDGER",
        help="ledger of a loader, or the report of `maya-data verify --json`",
    )


def merge(arguments: argparse.Namespace) -> None:
    """Add the segments of ledgers to the quarantine of an index, as its next version."""
    from maya_data.loading.mask import merge_ledgers

    made = merge_ledgers(arguments.ledgers, arguments.index)
    for name in made.unknown[:10]:
        print(f"not in the index: {name}", file=sys.stderr)
    if len(made.unknown) > 10:
        print(f"and {len(made.unknown) - 10} others are not in the index", file=sys.stderr)
    if made.added:
        print(f"version {made.version}: {made.segments:,} segments, {made.added:,} of them new")
    else:
        print(f"nothing new; version {made.version} with {made.segments:,} segments stays")
