"""`maya-data tokenizer`: a SentencePiece model of the texts of an index."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maya_data.cli.command import command

if TYPE_CHECKING:
    from maya_data.tokenizer import TokenizerReport

COVERAGE = 0.9999
"""Of unigram and BPE models: characters that are rarer than that get no piece. Character models have all."""
MAX_REPEATS = 8.0
"""A language with few texts counts at most so much more than it has."""
COLUMNS = ("language", "texts", "refused", "characters a piece", "pieces a word", "coverage")


def add(commands: Any) -> None:
    """Add `maya-data tokenizer`."""
    parser = command(commands, "tokenizer", tokenizer)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("--out", required=True, help="folder of the tokenizer")
    parser.add_argument("--name", default="asr", help="stem of the model file")
    parser.add_argument(
        "--vocab-size",
        type=int,
        help="most pieces, 4000 to 32000 for all languages (default: 4000; every character for char)",
    )
    parser.add_argument("--type", default="unigram", choices=("unigram", "bpe", "char"))
    parser.add_argument("--script", default="native", choices=("native", "common"))
    parser.add_argument(
        "--coverage",
        type=float,
        help=f"part of the characters that get a piece (default: {COVERAGE}; 1 for char)",
    )
    parser.add_argument("--texts", type=int, default=100_000, help="most texts of each language")
    parser.add_argument("--seed", type=int, default=0, help="chooses the texts")


def tokenizer(arguments: argparse.Namespace) -> None:
    """Train a SentencePiece model on texts of an index, sampled evenly over its languages."""
    from maya_data.indexing.segments import open_index
    from maya_data.sampling import sample_texts
    from maya_data.tokenizer import train_tokenizer

    opened, every = open_index(arguments.index), arguments.type == "char"
    repeats = 1.0 if every else MAX_REPEATS
    texts = sample_texts(opened, arguments.texts, seed=arguments.seed, max_repeats=repeats)
    coverage = arguments.coverage if arguments.coverage is not None else 1.0 if every else COVERAGE
    options = {"vocab_size": arguments.vocab_size, "model_type": arguments.type, "script": arguments.script}
    options |= {"name": arguments.name, "character_coverage": coverage}
    report = train_tokenizer(texts, arguments.out, text_profile=opened.text_profile, **options)
    Console().print(_table(report))
    for example in report.examples:
        print(f"refused, does not come back exactly: {example}", file=sys.stderr)


def _table(report: "TokenizerReport") -> Table:
    table = Table(title=f"{report.folder}: {report.vocab_size} pieces")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column != "language" else "left")
    for lang in sorted({*report.texts, *report.refused}):
        each = report.characters[lang] / max(report.pieces[lang], 1)
        numbers = (f"{report.texts[lang]:,}", f"{report.refused[lang]:,}", f"{each:.2f}")
        table.add_row(Text(lang), *numbers, f"{report.fertility(lang):.2f}", f"{report.coverage(lang):.3%}")
    return table
