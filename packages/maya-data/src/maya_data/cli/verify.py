"""`maya-data verify`: is everything there that the index promises?"""

import argparse
import json
import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from maya_data.cli.command import command, write
from maya_data.cli.progress import progress

if TYPE_CHECKING:
    from maya_data.verify import Verified

SHOWN = 20
"""Findings that are printed; the JSON file has them all."""


def add(commands: Any) -> None:
    """Add `maya-data verify`."""
    parser = command(commands, "verify", verify)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument(
        "--level",
        type=int,
        default=3,
        choices=range(4),
        help="0 rows and sizes, 1 headers too, 2 checksums too, 3 full decode too (default)",
    )
    parser.add_argument("--json", metavar="FILE", help="write all findings as JSON")
    parser.add_argument(
        "--root",
        nargs="+",
        default=[],
        metavar="DIR",
        help="where the audio is now; SOURCE=DIR for several sources",
    )
    workers = parser.add_mutually_exclusive_group()
    workers.add_argument("--processes", type=int, default=0, help="0: as many as suit the machine")
    workers.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster, tcp://host:port")


def verify(arguments: argparse.Namespace) -> int:
    """Compare an index with its audio; status 0 nothing is bad, 1 something is, 2 could not run."""
    from maya_data.indexing.segments import open_index
    from maya_data.verify import verify_index
    from maya_data.verify.run import root_mapping

    index = open_index(arguments.index, root_mapping(arguments.root))
    with _workers(arguments.dask) as executor, progress("verify") as tell:
        verified = verify_index(
            index, level=arguments.level, executor=executor, processes=arguments.processes, progress=tell
        )
    if arguments.json:
        write(arguments.json, json.dumps(verified.to_dict(), ensure_ascii=False, indent=1))
    _tell(verified)
    return 1 if verified.bad else 0


def _workers(address: str | None) -> AbstractContextManager[Any]:
    if address is None:
        return nullcontext()
    from maya_data.indexing.cluster import dask_executor

    return dask_executor(address)


def _tell(verified: "Verified") -> None:
    for finding in verified.bad[:SHOWN]:
        print(finding.error, file=sys.stderr)
    if len(verified.bad) > SHOWN:
        shards = Counter(finding.shard for finding in verified.bad)
        worst = ", ".join(f"{shard} ({count:,})" for shard, count in shards.most_common(5))
        print(f"and {len(verified.bad) - SHOWN:,} more; most in: {worst}", file=sys.stderr)
    print(f"{verified.segments:,} segments, level {verified.level}: {len(verified.bad):,} findings")
