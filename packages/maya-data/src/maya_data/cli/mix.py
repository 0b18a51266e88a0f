"""`maya-data mix explain`: what an epoch holds, before any GPU starts."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from maya_data.cli.command import command, write

if TYPE_CHECKING:
    from maya_data.planning.filters import FilterConfig, FilterReport
    from maya_data.planning.mix import MixConfig, MixRow, MixTable

FLAGS = {
    "mix": ("unit", "policy", "alpha", "max_repeats", "epoch_hours", "weights"),
    "filter": ("min_duration", "max_duration", "max_chars_per_second"),
}
"""Options that overrule the file, by section."""


def add(commands: Any) -> None:
    """Add `maya-data mix explain`."""
    group = commands.add_parser("mix", help="balance of languages and corpora").add_subparsers(
        required=True, metavar="COMMAND"
    )
    parser = command(group, "explain", explain_mix)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument(
        "--config", metavar="FILE", help="YAML with `mix:` and `filter:`; options overrule it"
    )
    parser.add_argument("--unit", choices=("hours", "utterances"), help="what is balanced (default: hours)")
    parser.add_argument("--policy", choices=("temperature", "two_stage", "weights", "natural"))
    parser.add_argument("--alpha", type=float, nargs="+", help="1 is natural, 0 is equal; or: within across")
    parser.add_argument("--max-repeats", type=float, help="cap on repeats in one epoch (default: 8)")
    parser.add_argument("--epoch-hours", type=float, help="hours of an epoch (default: those of the index)")
    parser.add_argument("--weight", nargs="+", metavar="LANG=W", help="weights for --policy weights")
    parser.add_argument("--min-duration", type=float, help="seconds (default: 0.01)")
    parser.add_argument("--max-duration", type=float, help="seconds (default: 40)")
    parser.add_argument("--max-chars-per-second", type=float, help="characters of text a second of audio")
    parser.add_argument("--json", metavar="FILE", help="write the tables as JSON too")


def explain_mix(arguments: argparse.Namespace) -> None:
    """Print what one epoch holds of each language and corpus, and what each filter removes."""
    from maya_data.indexing.segments import open_index
    from maya_data.planning.mix import explain

    index = open_index(arguments.index)
    made = explain(index, *_settings(arguments))
    console = Console()
    console.print(_filter_table(made.filter))
    console.print(_mix_table(made))
    if arguments.json:
        write(arguments.json, json.dumps(_plain(made), ensure_ascii=False, indent=1))


def _settings(arguments: argparse.Namespace) -> tuple["MixConfig", "FilterConfig"]:
    """Return the settings of the file, overruled by options."""
    from maya_data.planning.filters import FilterConfig
    from maya_data.planning.mix import MixConfig
    from maya_data.settings import from_mapping, read_yaml

    given = _sections(read_yaml(arguments.config)) if arguments.config else {}
    arguments.weights = _weights(arguments.weight) if arguments.weight else None
    for section, names in FLAGS.items():
        options = {name: value for name in names if (value := getattr(arguments, name)) is not None}
        given[section] = {**(given.get(section) or {}), **options}
    mix = from_mapping(MixConfig, given["mix"], "mix.")
    return mix, from_mapping(FilterConfig, given["filter"], "filter.")


def _sections(read: dict[str, Any]) -> dict[str, Any]:
    """Return `mix` and `filter` of a file that holds them, a whole plan, or the settings of the mix alone."""
    from maya_data.planning.plan_config import PlanConfig
    from maya_data.settings import from_mapping

    plan = read.get("plan", read)
    if not {"mix", "filter"} & plan.keys():
        return {"mix": read}
    from_mapping(PlanConfig, plan)  # tells what it does not know
    return {section: dict(plan.get(section) or {}) for section in FLAGS}


def _weights(given: Sequence[str]) -> dict[str, float]:
    """Return the weights of `hi=2 ta=1`."""
    try:
        return {lang: float(weight) for lang, _, weight in (pair.partition("=") for pair in given)}
    except ValueError as error:
        raise ValueError(f"`--weight` must look like hi=2.0, got {' '.join(given)}") from error


def _filter_table(report: "FilterReport") -> Table:
    table = Table(title=f"left after filtering: {report.segments:,} segments, {report.hours:,.2f} hours")
    for column in ("rule", "segments removed", "hours removed"):
        table.add_column(column, justify="right" if column != "rule" else "left")
    for each in report.removed:
        table.add_row(each.rule, f"{each.segments:,}", f"{each.hours:,.2f}")
    return table


def _mix_table(made: "MixTable") -> Table:
    table = Table(title=f"one epoch: {made.epoch_hours:,.2f} hours")
    for column in ("language", "corpus"):
        table.add_column(column)
    for column in ("hours", "segments", "share", "repeats", "epoch hours", "epoch segments"):
        table.add_column(column, justify="right")
    langs = made.langs
    for number, row in enumerate(made.rows):
        table.add_row(*_cells(row))
        last = number + 1 == len(made.rows) or made.rows[number + 1].lang != row.lang
        if last and langs[row.lang].corpus != row.corpus:
            table.add_row(*_cells(langs[row.lang]), style="bold")
    return table


def _cells(row: "MixRow") -> tuple[str, ...]:
    numbers = (f"{row.hours:,.2f}", f"{row.segments:,}", f"{row.share:.1%}", f"{row.repeats:.2f}x")
    return (row.lang, row.corpus, *numbers, f"{row.epoch_hours:,.2f}", f"{row.epoch_segments:,}")


def _plain(made: "MixTable") -> dict[str, Any]:
    return {
        "epoch_hours": made.epoch_hours,
        "filter": asdict(made.filter),
        "langs": {lang: asdict(row) for lang, row in made.langs.items()},
        "rows": [asdict(row) for row in made.rows],
    }
