"""`maya-transcribe`: files to text on the command line, with a SpeechLLM or an acoustic model alone."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maya_encoder.hypothesis import Hypothesis

OF_LLM = ("greedy", "beam", "speculative")
OF_HEADS = ("ctc", "rnnt", "tdt")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(prog="maya-transcribe", description="Write down what audio files say.")
    result.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="WAV, FLAC or what libsndfile reads"
    )
    result.add_argument("--model", type=Path, required=True, metavar="DIR", help="a saved model folder")
    result.add_argument(
        "--lang", required=True, help="language of all the files, like hi; auto where the LLM can tell"
    )
    result.add_argument(
        "--decode",
        choices=[*OF_LLM, *OF_HEADS],
        help="greedy, beam or speculative: the LLM (greedy where there is one); ctc, rnnt or tdt: that head",
    )
    result.add_argument("--hotwords", metavar="WORDS", help="names and terms that may be said: a,b,c")
    result.add_argument("--timestamps", action="store_true", help="a line for every word, with its times")
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
        for word in hypothesis.words if args.timestamps and not args.json else ():
            print(f"\t{word.start:.2f}\t{word.end:.2f}\t{word.confidence:.2f}\t{word.text}")
    return 0


def transcribe(args: argparse.Namespace) -> "Sequence[Hypothesis]":
    """Load the model that the folder holds and run it."""
    hotwords = [word.strip() for word in (args.hotwords or "").split(",") if word.strip()]
    if (args.model / "llm").is_dir():
        from maya_bridge.checkpoint import load
        from maya_bridge.decoding.options import DecodeOptions

        if hotwords and args.decode in OF_HEADS:
            raise ValueError(f"`--hotwords` go to the LLM, got --decode {args.decode}")
        options = DecodeOptions(hotwords=hotwords)
        model = load(args.model, args.device)
        return model.transcribe(args.files, args.lang, args.batch_size, args.decode or "greedy", options)
    if args.decode in OF_LLM:
        raise ValueError(
            f"`--decode` must be ctc, rnnt or tdt for {args.model}, which holds no LLM, got {args.decode}"
        )
    from maya_encoder.checkpoint import load as load_acoustic

    acoustic = load_acoustic(args.model, device=args.device)
    request: dict[str, Any] = {"lang": args.lang, "batch_size": args.batch_size, "head": args.decode}
    if hotwords:
        request["phrases"] = hotwords
    return acoustic.transcribe(args.files, **request)


def line(path: Path, hypothesis: "Hypothesis", as_json: bool, alone: bool) -> str:
    """Return what is printed for one file."""
    if as_json:
        return json.dumps({"file": str(path), **asdict(hypothesis)}, ensure_ascii=False)
    return hypothesis.text if alone else f"{path}\t{hypothesis.text}"


if __name__ == "__main__":
    sys.exit(main())
