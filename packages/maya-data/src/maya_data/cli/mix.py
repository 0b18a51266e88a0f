"""`maya-data mix explain`: what an epoch holds, before any GPU starts."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from maya_data.cli.command import command, write


def add(commands: Any) -> None:
    """Add `maya-data mix explain`."""
    group = commands.add_parser("mix", help="balance of languages").add_subparsers(
        required=True, metavar="COMMAND"
    )
    parser = command(group, "explain", explain_mix)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--policy", default="temperature", choices=("temperature", "weights", "natural"))
    parser.add_argument("--alpha", type=float, default=0.5, help="1 is natural, 0 is equal hours")
    parser.add_argument("--max-repeats", type=float, default=8.0, help="cap on repeats in one epoch")
    parser.add_argument("--epoch-hours", type=float, help="hours of an epoch (default: those of the index)")
    parser.add_argument(
        "--weight", nargs="+", default=[], metavar="LANG=W", help="weights for --policy weights"
    )
    parser.add_argument("--min-duration", type=float, default=0.01, help="seconds")
    parser.add_argument("--max-duration", type=float, default=40.0, help="seconds")
    parser.add_argument("--json", metavar="FILE", help="write the table as JSON too")


def explain_mix(arguments: argparse.Namespace) -> None:
    """Print what one epoch holds of each language."""
    from maya_data.mix import MixConfig, explain, usable
    from maya_data.segments import SegmentIndex

    opened = SegmentIndex.open(arguments.index)
    settings = {
        "alpha": arguments.alpha,
        "max_repeats": arguments.max_repeats,
        "epoch_hours": arguments.epoch_hours,
    }
    mix = MixConfig(policy=arguments.policy, weights=_weights(arguments.weight), **settings)
    rows = explain(opened, mix, usable(opened, arguments.min_duration, arguments.max_duration))
    table = Table(title=f"one epoch: {sum(row.epoch_hours for row in rows):,.2f} hours")
    for column in ("language", "hours", "segments", "share", "repeats", "epoch hours", "epoch segments"):
        table.add_column(column, justify="right" if column != "language" else "left")
    for row in rows:
        numbers = (f"{row.hours:,.2f}", f"{row.segments:,}", f"{row.share:.1%}", f"{row.repeats:.2f}x")
        table.add_row(row.lang, *numbers, f"{row.epoch_hours:,.2f}", f"{row.epoch_segments:,}")
    Console().print(table)
    if arguments.json:
        write(arguments.json, json.dumps([asdict(row) for row in rows], indent=1))


def _weights(given: Sequence[str]) -> dict[str, float]:
    """Return the weights of `hi=2 ta=1`."""
    try:
        return {lang: float(weight) for lang, _, weight in (pair.partition("=") for pair in given)}
    except ValueError as error:
        raise ValueError(f"`--weight` must look like hi=2.0, got {' '.join(given)}") from error
