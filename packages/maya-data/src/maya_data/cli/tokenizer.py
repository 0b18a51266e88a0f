"""`maya-data tokenizer`: a SentencePiece model of the texts of an index."""

import argparse
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from maya_data.cli.command import command


def add(commands: Any) -> None:
    """Add `maya-data tokenizer`."""
    parser = command(commands, "tokenizer", tokenizer)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--out", required=True, help="folder of the tokenizer")
    parser.add_argument("--name", default="asr", help="stem of the model file")
    parser.add_argument(
        "--vocab-size", type=int, help="most pieces (default: 4000; every character for char)"
    )
    parser.add_argument("--type", default="unigram", choices=("unigram", "bpe", "char"))
    parser.add_argument("--script", default="native", choices=("native", "common"))
    parser.add_argument("--coverage", type=float, default=1.0, help="share of characters that get a piece")


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
