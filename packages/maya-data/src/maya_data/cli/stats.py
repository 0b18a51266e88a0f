"""`maya-data stats`: what an index holds."""

import argparse
import json
from typing import Any

from rich.console import Console

from maya_data.cli.command import command, write
from maya_data.cli.progress import progress


def add(commands: Any) -> None:
    """Add `maya-data stats`."""
    parser = command(commands, "stats", stats)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--json", metavar="FILE", help="write them as JSON too")
    parser.add_argument("--html", metavar="FILE", help="write a page that opens offline")
    parser.add_argument(
        "--against", nargs="+", default=[], metavar="INDEX", help="report texts that these indexes hold too"
    )
    parser.add_argument("--buckets", type=int, default=30, help="rows of the bucket table")
    parser.add_argument("--batch-duration", type=float, default=360.0, help="seconds of audio in a batch")


def stats(arguments: argparse.Namespace) -> None:
    """Print the statistics of an index; no audio is read."""
    from maya_data.indexing.segments import open_index
    from maya_data.stats import describe
    from maya_data.stats.page import page
    from maya_data.stats.tables import tables

    opened = open_index(arguments.index)
    others = [open_index(path) for path in arguments.against]
    with progress("stats") as tell:
        described = describe(
            opened,
            against=others,
            num_buckets=arguments.buckets,
            batch_duration=arguments.batch_duration,
            progress=tell,
        )
    console = Console()
    for table in tables(described):
        console.print(table)
    if arguments.json:
        write(arguments.json, json.dumps(described.to_dict(), ensure_ascii=False, indent=1))
    if arguments.html:
        write(arguments.html, page(described))
