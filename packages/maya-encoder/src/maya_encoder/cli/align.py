"""`maya-encoder align`: where the words of a known text are in a sound file."""

import argparse
import json
from dataclasses import asdict

from maya_encoder.cli.arguments import Commands, add_model, load_model


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("align", help="find the words of a given text in a sound file")
    parser.add_argument("file", metavar="AUDIO", help="a file that libsndfile reads")
    parser.add_argument("--text", required=True, help="what is said, in native script")
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object for the file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start, end, confidence and text of every word."""
    import maya_encoder  # here, so that `--help` is quick

    words = maya_encoder.align(load_model(options), options.file, options.text, lang=options.lang)
    if options.json:
        found = {"file": options.file, "text": options.text, "lang": options.lang}
        print(json.dumps({**found, "words": [asdict(word) for word in words]}, ensure_ascii=False))
        return 0
    for word in words:
        print(f"{word.start:.2f}\t{word.end:.2f}\t{word.confidence:.2f}\t{word.text}")
    return 0
