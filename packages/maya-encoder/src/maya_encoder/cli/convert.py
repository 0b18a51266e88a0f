"""`maya-encoder convert`: a checkpoint of one kind to another."""

import argparse

from maya_encoder.cli.arguments import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("convert", help="write a checkpoint in another form")
    parser.add_argument("source", metavar="SRC", help="any model that `maya-encoder info` knows")
    parser.add_argument("target", metavar="DST", help="the folder or file to write")
    parser.add_argument(
        "--to", metavar="KIND", help="maya, hf, onnx or onnx-asr (default: onnx for DST.onnx, else maya)"
    )
    parser.add_argument(
        "--head", help="which head a Hugging Face folder gets (default: ctc where there is one)"
    )
    parser.add_argument("--lang", help="its language, where the model or its script depends on it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Say what was written."""
    from maya_encoder.interop.convert import convert  # here, so that `--help` is quick

    print(convert(options.source, options.target, options.to, options.head, options.lang))
    return 0
