"""`maya-data synth`: offline synthetic speech."""

import argparse
from typing import Any

from maya_data.cli.command import command
from maya_data.cli.progress import progress
from maya_data.script import LANGS


def add(commands: Any) -> None:
    """Add `maya-data synth`."""
    parser = command(commands, "synth", synth)
    parser.add_argument("out", help="folder of the corpus")
    parser.add_argument("--langs", nargs="+", default=list(LANGS), metavar="LANG", help="languages")
    parser.add_argument("--sentences", type=int, default=400, help="training sentences a language")
    parser.add_argument("--words", type=int, default=2, help="training clips of each single word")
    parser.add_argument("--valid", type=int, default=12, help="validation sentences a language")
    parser.add_argument("--test", type=int, default=50, help="test sentences a language")
    parser.add_argument("--seed", type=int, default=0, help="chooses texts and voices")
    parser.add_argument("--processes", type=int, default=2, help="worker processes")


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
