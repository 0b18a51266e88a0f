"""The `maya-data` command: make, index, look at and tokenize speech data."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from maya_data.plugins import find
from maya_data.script import LANGS

ProgressFn = Callable[[int, int, str], None]
LINES = 10
"""Progress lines of a job whose output is no terminal."""


@contextmanager
def progress(title: str) -> Iterator[ProgressFn]:
    """Give a function of (done, total, what): a bar on a terminal, a few plain lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(title)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(title), *columns, TextColumn("{task.fields[what]}"), console=console) as bars:
        task = bars.add_task(title, what="")
        yield lambda done, total, what: bars.update(task, completed=done, total=total or None, what=what)


def _plain_lines(title: str) -> ProgressFn:
    shown = -1

    def tell(done: int, total: int, what: str) -> None:
        nonlocal shown
        tenth = done * LINES // max(total, 1)
        if tenth != shown:
            shown = tenth
            print(f"{title}: {done} of {total or 'an unknown number'} ({what})", file=sys.stderr, flush=True)

    return tell


def synth(arguments: argparse.Namespace) -> None:
    """Make a corpus of synthetic speech in the final-export layout."""
    from maya_data.synth import write_corpus

    sizes = {
        name: getattr(arguments, name)
        for name in ("sentences", "words", "valid", "test", "seed", "processes")
    }
    with progress("synthesis") as tell:
        write_corpus(arguments.out, langs=arguments.langs, progress=tell, **sizes)
    print(arguments.out)


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


def stats(arguments: argparse.Namespace) -> None:
    """Print the statistics of an index."""
    from maya_data.segments import SegmentIndex
    from maya_data.stats import describe

    described = describe(SegmentIndex.open(arguments.index))
    Console().print(described.table())
    if arguments.json:
        _write(arguments.json, json.dumps(described.to_dict(), ensure_ascii=False, indent=1))
    if arguments.html:
        _write(arguments.html, described.to_html())


def tokenizer(arguments: argparse.Namespace) -> None:
    """Train a SentencePiece model on the texts of an index."""
    from maya_data.segments import SegmentIndex
    from maya_data.tokenizer import train_tokenizer

    opened = SegmentIndex.open(arguments.index)
    options = {"vocab_size": arguments.vocab_size, "model_type": arguments.type, "script": arguments.script}
    options |= {"name": arguments.name, "character_coverage": arguments.coverage}
    report = train_tokenizer(opened.texts(), arguments.out, text_profile=opened.text_profile, **options)
    table = Table(title=f"{report.folder}: {report.vocab_size} pieces")
    for column in ("language", "texts", "refused", "characters a piece"):
        table.add_column(column, justify="right" if column != "language" else "left")
    for lang in sorted({*report.texts, *report.refused}):
        each = report.characters[lang] / max(report.pieces[lang], 1)
        table.add_row(lang, f"{report.texts[lang]:,}", f"{report.refused[lang]:,}", f"{each:.2f}")
    Console().print(table)
    for example in report.examples:
        print(f"refused, does not come back exactly: {example}", file=sys.stderr)


def mix_explain(arguments: argparse.Namespace) -> None:
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
        _write(arguments.json, json.dumps([asdict(row) for row in rows], indent=1))


def _weights(given: Sequence[str]) -> dict[str, float]:
    """Return the weights of `hi=2 ta=1`."""
    try:
        return {lang: float(weight) for lang, _, weight in (pair.partition("=") for pair in given)}
    except ValueError as error:
        raise ValueError(f"`--weight` must look like hi=2.0, got {' '.join(given)}") from error


def _write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="maya-data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _synth_arguments(_command(commands, "synth", synth))
    _index_arguments(_command(commands, "index", index))
    shown = _command(commands, "stats", stats)
    shown.add_argument("index", help="folder of the index")
    shown.add_argument("--json", metavar="FILE", help="write them as JSON too")
    shown.add_argument("--html", metavar="FILE", help="write a page that opens offline")
    _tokenizer_arguments(_command(commands, "tokenizer", tokenizer))
    mix = commands.add_parser("mix", help="balance of languages").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _mix_arguments(_command(mix, "explain", mix_explain))
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    made.set_defaults(run=run)
    return made


def _synth_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", help="folder of the corpus")
    parser.add_argument("--langs", nargs="+", default=list(LANGS), metavar="LANG", help="languages")
    parser.add_argument("--sentences", type=int, default=400, help="training sentences a language")
    parser.add_argument("--words", type=int, default=2, help="training clips of each single word")
    parser.add_argument("--valid", type=int, default=12, help="validation sentences a language")
    parser.add_argument("--test", type=int, default=50, help="test sentences a language")
    parser.add_argument("--seed", type=int, default=0, help="chooses texts and voices")
    parser.add_argument("--processes", type=int, default=2, help="worker processes")


def _index_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", nargs="?", help="folder of the lang=xx folders (default: MAYA_DATA)")
    parser.add_argument("--reader", default="final_export", help="name of a reader plugin")
    parser.add_argument("--out", required=True, help="folder of the index")
    parser.add_argument("--langs", nargs="+", metavar="LANG", help="languages (default: all)")


def _tokenizer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--out", required=True, help="folder of the tokenizer")
    parser.add_argument("--name", default="asr", help="stem of the model file")
    parser.add_argument(
        "--vocab-size", type=int, help="most pieces (default: 4000; every character for char)"
    )
    parser.add_argument("--type", default="unigram", choices=("unigram", "bpe", "char"))
    parser.add_argument("--script", default="native", choices=("native", "common"))
    parser.add_argument("--coverage", type=float, default=1.0, help="share of characters that get a piece")


def _mix_arguments(parser: argparse.ArgumentParser) -> None:
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on stderr and status 2."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, LookupError, ImportError, OSError, RuntimeError) as error:
        print(f"maya-data: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
