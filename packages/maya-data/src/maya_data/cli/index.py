"""`maya-data index`: one segment index over any number of sources."""

import argparse
import os
import sys
from typing import Any

from maya_data.cli.command import command
from maya_data.cli.progress import progress
from maya_data.plugins import find


def add(commands: Any) -> None:
    """Add `maya-data index`."""
    parser = command(commands, "index", index)
    parser.add_argument("root", nargs="?", help="folder of the lang=xx folders (default: MAYA_DATA)")
    parser.add_argument("--reader", default="final_export", help="name of a reader plugin")
    parser.add_argument("--out", required=True, help="folder of the index")
    parser.add_argument("--langs", nargs="+", metavar="LANG", help="languages (default: all)")


def index(arguments: argparse.Namespace) -> None:
    """Index the shards under a root."""
    from maya_data.index import build_index

    root = arguments.root or os.environ.get("MAYA_DATA")
    reader = find("readers", arguments.reader, allow_path=True)(root=root, langs=arguments.langs)
    with progress("index") as tell:
        made = build_index(reader, arguments.out, progress=tell)
    print(f"{made.path}: {len(made):,} segments, {made.hours:,.2f} hours, languages: {', '.join(made.langs)}")
    for reason, number in made.info["dropped"].items():
        print(f"left out {number:,} segments: {reason}", file=sys.stderr)
    for reason in made.info["broken"].values():
        print(f"left out shard {reason}", file=sys.stderr)
