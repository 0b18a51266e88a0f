"""`maya-data synth`: offline synthetic speech, or metadata alone at any scale."""

import argparse
from typing import Any

from maya_data.cli.command import command
from maya_data.cli.progress import progress
from maya_data.script import LANGS

SPEECH = {
    "sentences": (400, "training sentences a language"),
    "words": (2, "training clips of each single word"),
    "valid": (12, "validation sentences a language"),
    "test": (50, "test sentences a language"),
    "processes": (2, "worker processes"),
}
"""Options of spoken corpora only: default and help."""


def add(commands: Any) -> None:
    """Add `maya-data synth`."""
    parser = command(commands, "synth", synth)
    parser.add_argument("out", help="folder of the corpus")
    parser.add_argument("--langs", nargs="+", default=list(LANGS), metavar="LANG", help="languages")
    parser.add_argument("--seed", type=int, default=0, help="chooses texts and voices")
    for name, (default, text) in SPEECH.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{text} (default: {default})")
    parser.add_argument("--no-audio", action="store_true", help="metadata only, to try plans at scale")
    parser.add_argument("--segments", type=int, metavar="N", help="segments in all, with --no-audio")


def synth(arguments: argparse.Namespace) -> None:
    """Make a corpus of synthetic speech in the final-export layout."""
    given = {name: getattr(arguments, name) for name in SPEECH if getattr(arguments, name) is not None}
    if arguments.no_audio:
        _metadata(arguments, given)
        return
    if arguments.segments is not None:
        raise ValueError("--segments goes with --no-audio; the size of a spoken corpus is set by --sentences")
    from maya_data.synth import write_corpus

    sizes = {name: default for name, (default, _) in SPEECH.items()} | given
    with progress("synthesis") as tell:
        write_corpus(arguments.out, langs=arguments.langs, seed=arguments.seed, progress=tell, **sizes)
    print(arguments.out)


def _metadata(arguments: argparse.Namespace, given: dict[str, int]) -> None:
    if given:
        raise ValueError(f"--{next(iter(given))} has no effect with --no-audio; set --segments")
    if arguments.segments is None:
        raise ValueError("--no-audio needs --segments, for example --segments 1000000")
    from maya_data.synth import write_metadata

    options = {"langs": arguments.langs, "seed": arguments.seed}
    with progress("metadata") as tell:
        root = write_metadata(arguments.out, arguments.segments, progress=tell, **options)
    print(f"{root}: {arguments.segments:,} segments without audio, for `maya-data index {root} --out INDEX`")
