"""`maya-data stats`: what an index holds."""

import argparse
import json
from typing import Any

from rich.console import Console

from maya_data.cli.command import command, write


def add(commands: Any) -> None:
    """Add `maya-data stats`."""
    parser = command(commands, "stats", stats)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--json", metavar="FILE", help="write them as JSON too")
    parser.add_argument("--html", metavar="FILE", help="write a page that opens offline")


def stats(arguments: argparse.Namespace) -> None:
    """Print the statistics of an index."""
    from maya_data.segments import SegmentIndex
    from maya_data.stats import describe

    described = describe(SegmentIndex.open(arguments.index))
    Console().print(described.table())
    if arguments.json:
        write(arguments.json, json.dumps(described.to_dict(), ensure_ascii=False, indent=1))
    if arguments.html:
        write(arguments.html, described.to_html())
