"""The command `maya-encoder`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; mistakes of the user end in one line and status 2."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except (ValueError, LookupError, OSError) as error:
        print(f"maya-encoder: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maya-encoder", description="Speech to text with CTC and RNNT heads."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    transcribe = commands.add_parser("transcribe", help="write the text of sound files")
    transcribe.add_argument("files", nargs="+", metavar="FILE", help="a file that libsndfile reads")
    transcribe.add_argument("--model", required=True, metavar="DIR", help="model folder")
    transcribe.add_argument("--lang", required=True, help="language of the files, such as hi")
    transcribe.add_argument("--head", help="who writes: ctc or rnnt (default: rnnt where there is one)")
    transcribe.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    transcribe.add_argument("--batch-size", type=int, default=16, metavar="N", help="files at a time")
    transcribe.add_argument("--json", action="store_true", help="one JSON object a line")
    transcribe.set_defaults(run=_transcribe)
    return parser


def _transcribe(options: argparse.Namespace) -> int:
    from maya_encoder.checkpoint import load  # here, so that `--help` is quick

    model = load(options.model, options.device)
    hypotheses = model.transcribe(options.files, options.lang, options.batch_size, options.head)
    for file, hypothesis in zip(options.files, hypotheses, strict=True):
        print(_line(file, asdict(hypothesis), options), flush=True)
    return 0


def _line(file: str, hypothesis: dict[str, object], options: argparse.Namespace) -> str:
    if options.json:
        return json.dumps({"file": file, **hypothesis}, ensure_ascii=False)
    text = str(hypothesis["text"])
    return text if len(options.files) == 1 else f"{file}\t{text}"
