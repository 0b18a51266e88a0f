"""`maya-encoder transcribe`: sound files to lines of text or JSON."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from maya_encoder.cli.arguments import Commands, add_model, load_model
from maya_encoder.cli.progress import Progress

if TYPE_CHECKING:
    from maya_encoder.audio import Waveform
    from maya_encoder.hypothesis import Hypothesis

BATCHES_READ = 4
"""Batches of files in memory at once; those of like length are then transcribed together."""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("transcribe", help="write the text of sound files")
    parser.add_argument("files", nargs="+", metavar="AUDIO", help="a file that libsndfile reads")
    add_model(parser)
    parser.add_argument("--head", help="who writes: ctc, rnnt or tdt (default: tdt, else rnnt, else ctc)")
    parser.add_argument("--timestamps", action="store_true", help="a line for every word, with its times")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with words and times")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="files at a time")
    parser.add_argument("--beam", type=int, metavar="N", help="hypotheses kept at each step (default: 1)")
    parser.add_argument("--lm", metavar="FILE", help="n-gram language model (ARPA) for the beam")
    parser.add_argument("--phrase", action="append", metavar="TEXT", help="favour these words; repeatable")
    parser.add_argument("--chunk", type=float, metavar="SECONDS", help="cut longer audio into pieces")
    parser.add_argument("--overlap", type=float, metavar="SECONDS", help="of neighbouring pieces")
    parser.add_argument(
        "--local-attention", type=int, metavar="FRAMES", help="look no further than this to either side"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Status 0, or 1 where a file could not be read; all others are transcribed."""
    model = load_model(options)
    keywords = _keywords(options)
    model.transcribe([], **keywords)  # refuses what no file could change
    failed = 0
    with Progress(len(options.files), "transcribing") as progress:
        for group in _parts(options.files, BATCHES_READ * options.batch_size):
            waveforms, mistakes = _read(group, model.frontend.sampling_rate)
            failed += len(mistakes)
            progress.advance(len(mistakes))
            results: dict[str, Hypothesis | str] = {**mistakes}
            order = sorted(waveforms, key=lambda file: len(waveforms[file]))
            for files in _parts(order, options.batch_size):
                found = model.transcribe([waveforms[file] for file in files], **keywords)
                results |= zip(files, found, strict=True)
                progress.advance(len(files))
            with progress.hidden():
                for file in group:
                    _write(file, results[file], options)
    return 1 if failed else 0


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    local = options.local_attention
    chosen = {
        "lang": options.lang,
        "head": options.head,
        "batch_size": options.batch_size,
        "beam": options.beam,
        "lm": options.lm,
        "phrases": options.phrase,
        "chunk_duration": options.chunk,
        "overlap": options.overlap,
        "attention_context": None if local is None else (local, local),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _parts(files: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]


def _read(files: Sequence[str], sampling_rate: int) -> "tuple[dict[str, Waveform], dict[str, str]]":
    """The waveforms of the files that are sound, and what is wrong with the others."""
    from maya_encoder.audio import BadAudio, load_audio  # here, so that `--help` is quick

    waveforms, mistakes = {}, {}
    for file in files:
        try:
            waveforms[file] = load_audio(file, sampling_rate)
        except (BadAudio, OSError) as error:
            mistakes[file] = str(error)
    return waveforms, mistakes


def _write(file: str, result: "Hypothesis | str", options: argparse.Namespace) -> None:
    if isinstance(result, str):
        print(f"maya-encoder: {result}", file=sys.stderr, flush=True)
    elif options.json:
        print(json.dumps({"file": file, **asdict(result)}, ensure_ascii=False), flush=True)
    else:
        print(result.text if len(options.files) == 1 else f"{file}\t{result.text}", flush=True)
        for word in result.words if options.timestamps else ():
            times = f"{word.start:.2f}\t{word.end:.2f}\t{word.confidence:.2f}"
            print(f"\t{times}\t{word.text}", flush=True)
