"""`maya-transcribe`: sound files to text on the command line, with a SpeechLLM or an acoustic model alone."""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from maya_bridge.transcribe_files.style import STYLES
from maya_bridge.transcribe_files.writers import FORMATS

DECODES = ("greedy", "speculative", "beam", "ctc", "rnnt", "tdt")
EPILOG = (
    "exit status: 0 all files were transcribed; 1 some failed: each is named on standard error, the others "
    "are transcribed; 2 wrong usage, a model that does not open, or one that cannot do what was asked"
)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(
        prog="maya-transcribe", description="Write down what sound files say.", epilog=EPILOG
    )
    result.add_argument(
        "files", nargs="+", metavar="FILE", help="sound files, folders, patterns like 'calls/**/*.mp3', or -"
    )
    result.add_argument("--model", type=Path, required=True, metavar="DIR", help="a saved model folder")
    result.add_argument(
        "--lang", required=True, help="language of all the files, like hi; auto where the model can tell"
    )
    result.add_argument(
        "--decode",
        choices=DECODES,
        help="greedy, speculative or beam: the LLM (greedy where there is one); ctc, rnnt or tdt: that head",
    )
    result.add_argument("--hotwords", metavar="WORDS", default="", help="names that may be said: a,b,c")
    result.add_argument("--batch-size", type=int, default=16, metavar="N", help="files decoded together")
    result.add_argument("--device", default="cpu", help="torch device")
    result.add_argument("--int8", action="store_true", help="quantise the weights; CPU only")
    _add_output(result)
    _add_sharing(result)
    return result


def _add_output(result: argparse.ArgumentParser) -> None:
    group = result.add_argument_group("output")
    group.add_argument("--format", choices=FORMATS, default="text", help="text unless told otherwise")
    group.add_argument(
        "--json", action="store_const", const="jsonl", dest="format", help="the same as --format jsonl"
    )
    group.add_argument(
        "--timestamps", action="store_true", help="text: a line for every word, with its times"
    )
    group.add_argument(
        "--style", choices=STYLES, default="raw", help="readable: sentences end at long pauses"
    )
    group.add_argument(
        "--output", type=Path, metavar="DIR", help="a file for each transcript, in place of standard output"
    )
    group.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="note finished work in FILE, and go on from it; with --output a file in that folder does so",
    )
    group.add_argument("--fresh", action="store_true", help="do all again, whatever was noted")


def _add_sharing(result: argparse.ArgumentParser) -> None:
    group = result.add_argument_group("several processes; torchrun's share the files by themselves")
    group.add_argument(
        "--shared", action="store_true", help="others do this too, on any node that sees the output"
    )
    group.add_argument(
        "--dask", metavar="ADDRESS", help="on a Dask cluster: tcp://host:port, or local:4 for four processes"
    )
    group.add_argument("--unit", type=int, metavar="N", help="files taken at a time (4 batches)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; wrong usage is one line, exit status 2."""
    args = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be any bytes
    try:
        with tempfile.TemporaryDirectory(prefix="maya-transcribe-") as folder:
            from maya_bridge.transcribe_files.command import run

            return run(args, Path(folder))
    except BrokenPipeError:  # `maya-transcribe ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("maya-transcribe: interrupted", file=sys.stderr)
        return 130
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"maya-transcribe: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
