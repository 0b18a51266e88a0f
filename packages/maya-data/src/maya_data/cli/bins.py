"""`maya-data bins`: the buckets that batches are made from, and their padding."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from maya_data.cli.command import command, write

if TYPE_CHECKING:
    from maya_data.planning.bucket_table import BucketTable
    from maya_data.planning.plan_config import PlanConfig


def add(commands: Any) -> None:
    """Add `maya-data bins`."""
    parser = command(commands, "bins", bins)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--buckets", type=int, default=30, help="duration buckets (default: 30)")
    parser.add_argument("--tokenizer", metavar="MODEL", help="SentencePiece model: cut by its tokens too")
    parser.add_argument(
        "--token-buckets", type=int, default=3, help="cuts by tokens in each bucket (default: 3)"
    )
    parser.add_argument("--batch-duration", type=float, help="seconds of a padded batch (default: 360)")
    parser.add_argument("--max-batch-size", type=int, help="most segments in a batch")
    parser.add_argument("--max-duration", type=float, help="seconds; longer segments are left out")
    parser.add_argument(
        "--config", metavar="FILE", help="YAML of a plan, or with a `plan:`; options overrule it"
    )
    parser.add_argument("--json", metavar="FILE", help="write the table as JSON: a plan's `buckets_file`")


def bins(arguments: argparse.Namespace) -> None:
    """Cut the segments into buckets with little padding, and print them."""
    from maya_data.indexing.segments import open_index
    from maya_data.planning.bucket_table import bucket_table

    index = open_index(arguments.index)
    made = bucket_table(index, _settings(index, arguments))
    Console().print(_table(made))
    if arguments.json:
        write(arguments.json, json.dumps(made.to_dict(), indent=1))


def _settings(index: Any, arguments: argparse.Namespace) -> "PlanConfig":
    """Return the plan whose buckets these are; the tokens of its texts are counted if need be."""
    from maya_data.indexing.tokens import count_tokens
    from maya_data.planning.plan_config import PlanConfig
    from maya_data.settings import from_mapping, read_yaml

    read = read_yaml(arguments.config) if arguments.config else {}
    given: dict[str, Any] = {"batch_duration": 360.0, "mix": {"policy": "natural"}} | dict(
        read.get("plan", read)
    )
    options = {"batch_duration": arguments.batch_duration, "max_batch_size": arguments.max_batch_size}
    given |= {name: value for name, value in options.items() if value is not None}
    if arguments.max_duration is not None:
        given["filter"] = {**(given.get("filter") or {}), "max_duration": arguments.max_duration}
    given |= {
        "num_buckets": arguments.buckets,
        "buckets_file": None,
        "token_buckets": arguments.token_buckets,
    }
    if arguments.tokenizer:
        given["tokenizer"] = count_tokens(index, arguments.tokenizer)
    return from_mapping(PlanConfig, given)


def _table(made: "BucketTable") -> Table:
    title = f"{len(made.buckets)} buckets, {made.hours:,.2f} hours, {made.padding:.1%} padding"
    table = Table(title=title)
    columns = ["up to s", "batch size", "segments", "hours", "padding"]
    if made.tokenizer:
        columns.insert(1, "up to tokens")
    for column in columns:
        table.add_column(column, justify="right")
    for row in made.buckets:
        tokens = [f"{row.max_tokens:,}"] if row.max_tokens is not None else []
        numbers = (f"{row.batch_size:,}", f"{row.segments:,}", f"{row.hours:,.2f}", f"{row.padding:.1%}")
        table.add_row(f"{row.max_duration:.3f}", *tokens, *numbers)
    return table
