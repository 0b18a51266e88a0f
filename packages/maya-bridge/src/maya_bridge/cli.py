"""`maya-transcribe`: files to text on the command line, with a SpeechLLM or an acoustic model alone."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from maya_encoder.hypothesis import Hypothesis


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(prog="maya-transcribe", description="Write down what audio files say.")
    result.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="WAV, FLAC or what libsndfile reads"
    )
    result.add_argument("--model", type=Path, required=True, metavar="DIR", help="a saved model folder")
    result.add_argument("--lang", required=True, help="language of all the files, like hi")
    result.add_argument(
        "--decode",
        choices=["greedy", "ctc", "rnnt", "tdt"],
        help="greedy: the LLM (default where there is one); ctc, rnnt or tdt: that head",
    )
    result.add_argument("--batch-size", type=int, default=16, help="files decoded together")
    result.add_argument("--device", default="cpu", help="torch device")
    result.add_argument(
        "--json", action="store_true", help="one JSON object a file instead of a line of text"
    )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; errors of the user are one line, exit status 2."""
    args = parser().parse_args(argv)
    try:
        hypotheses = transcribe(args)
    except (ValueError, LookupError, OSError) as error:
        print(f"maya-transcribe: {error}", file=sys.stderr)
        return 2
    for path, hypothesis in zip(args.files, hypotheses, strict=True):
        print(line(path, hypothesis, as_json=args.json, alone=len(args.files) == 1))
    return 0


def transcribe(args: argparse.Namespace) -> list[Hypothesis]:
    """Load the model that the folder holds and run it."""
    if (args.model / "llm").is_dir():
        from maya_bridge.checkpoint import load

        model = load(args.model, args.device)
        return model.transcribe(args.files, args.lang, args.batch_size, args.decode or "greedy")
    if args.decode == "greedy":
        raise ValueError(
            f"`--decode` must be ctc, rnnt or tdt for {args.model}, which holds no LLM, got greedy"
        )
    from maya_encoder.checkpoint import load as load_acoustic

    acoustic = load_acoustic(args.model, device=args.device)
    return acoustic.transcribe(args.files, lang=args.lang, batch_size=args.batch_size, head=args.decode)


def line(path: Path, hypothesis: Hypothesis, as_json: bool, alone: bool) -> str:
    """Return what is printed for one file."""
    if as_json:
        return json.dumps({"file": str(path), **asdict(hypothesis)}, ensure_ascii=False)
    return hypothesis.text if alone else f"{path}\t{hypothesis.text}"


if __name__ == "__main__":
    sys.exit(main())
