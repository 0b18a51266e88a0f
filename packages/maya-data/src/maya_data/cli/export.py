"""`maya-data export nemo|shar`: an index in the layout of another toolkit."""

import argparse
import sys
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Any

from maya_data.cli.command import Run, command
from maya_data.cli.progress import progress
from maya_data.indexing.processes import pool


def add(commands: Any) -> None:
    """Add `maya-data export nemo` and `maya-data export shar`."""
    group = commands.add_parser("export", help="write an index for another toolkit").add_subparsers(
        required=True, metavar="LAYOUT"
    )
    parser = _layout(group, "nemo", nemo)
    parser.add_argument(
        "--by", default="none", choices=("none", "lang"), help="one folder, or one a language"
    )
    parser = _layout(group, "shar", shar)
    parser.add_argument("--shard-size", type=int, default=1000, metavar="N", help="segments a shard")


def _layout(group: Any, name: str, run: Run) -> argparse.ArgumentParser:
    parser = command(group, name, run)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--out", required=True, help="folder to make")
    texts = "as in the source, or as the index's text profile spells them"
    parser.add_argument("--texts", default="raw", choices=("raw", "profile"), help=texts)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="worker processes")
    return parser


def nemo(arguments: argparse.Namespace) -> None:
    """Link the tars of an index into NeMo's tarred layout, with manifests."""
    from maya_data.export import NemoExport, export_nemo
    from maya_data.indexing.segments import open_index

    settings = NemoExport(by=arguments.by, texts=arguments.texts)
    with progress("export") as tell, _workers(arguments.processes) as executor:
        made = export_nemo(
            open_index(arguments.index), arguments.out, settings, executor=executor, progress=tell
        )
    _report(made)


def shar(arguments: argparse.Namespace) -> None:
    """Copy the segments of an index into lhotse Shar."""
    from maya_data.export import export_shar
    from maya_data.indexing.segments import open_index

    settings = {"shard_size": arguments.shard_size, "texts": arguments.texts}
    with progress("export") as tell, _workers(arguments.processes) as executor:
        made = export_shar(
            open_index(arguments.index), arguments.out, **settings, executor=executor, progress=tell
        )
    _report(made)


def _workers(processes: int) -> AbstractContextManager[Executor | None]:
    if processes < 1:
        raise ValueError(f"--processes must be 1 or more, got {processes}")
    return pool(processes)


def _report(made: Any) -> None:
    for problem in made.problems:
        print(f"left out {problem}", file=sys.stderr)
    for reason, number in made.left_out.items():
        print(f"left out {number:,} segments: {reason}", file=sys.stderr)
    print(f"{made.folder}: {made.segments:,} segments in {made.shards:,} shards")
