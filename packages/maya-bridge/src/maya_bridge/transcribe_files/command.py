"""What `maya-transcribe` does once its command line is read."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from maya_bridge.any_model import AnyModel, open_model
from maya_bridge.transcribe_files import writers
from maya_bridge.transcribe_files.batching import measured
from maya_bridge.transcribe_files.inputs import Source, outputs, sources
from maya_bridge.transcribe_files.job import Job, Orders, Transcript
from maya_bridge.transcribe_files.resume import NAME, Journal, model_identity
from maya_bridge.transcribe_files.style import styled
from maya_encoder.cli.progress import Progress
from maya_encoder.hypothesis import Hypothesis


def run(args: argparse.Namespace, folder: Path) -> int:
    """Transcribe what the arguments name; the exit status.

    Args:
        args: of `cli.parser`.
        folder: for the copy of standard input; the caller removes it.

    Raises:
        ValueError: wrong usage, or what the model cannot do.
        OSError: a place that cannot be read or written.
    """
    if args.batch_size < 1:
        raise ValueError(f"`--batch-size` must be 1 or more, got {args.batch_size}")
    orders = _orders(args)
    found = sources(args.files, folder)
    emit = _emitter(args, found)
    model = open_model(args.model, args.device, args.int8)
    model.check(orders.lang, orders.decode, orders.hotwords)
    if model.saving is not None:
        print(f"maya-transcribe: {model.saving}", file=sys.stderr)
    journal = _journal(args, orders, model)
    failed = _transcribe(model, orders, journal, found, emit)
    if failed and len(found) > 1:
        print(f"maya-transcribe: {len(failed)} of {len(found)} failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _transcribe(
    model: AnyModel,
    orders: Orders,
    journal: Journal,
    found: Sequence[Source],
    emit: Callable[[int, Hypothesis], None],
) -> list[str]:
    """Transcribe all sources; names of those that failed."""
    files = [measured(source) for source in found]
    failed: list[str] = []
    total = sum(file.seconds or 0.0 for file in files)
    with Progress(round(total), "seconds of audio") as progress:
        job = Job(model, orders, journal, _whole_seconds(progress))
        for number, transcript in enumerate(job.transcripts(files)):
            with progress.hidden():
                if transcript.hypothesis is None:
                    failed.append(transcript.source.name)
                    print(f"maya-transcribe: {_mistake(transcript)}", file=sys.stderr, flush=True)
                else:
                    emit(number, transcript.hypothesis)
    return failed


def _orders(args: argparse.Namespace) -> Orders:
    hotwords = tuple(word.strip() for word in args.hotwords.split(",") if word.strip())
    words = args.timestamps or args.format != "text" or args.style != "raw"
    return Orders(
        lang=args.lang, decode=args.decode, hotwords=hotwords, words=words, batch_size=args.batch_size
    )


def _journal(args: argparse.Namespace, orders: Orders, model: AnyModel) -> Journal:
    path = args.resume or (args.output / NAME if args.output else None)
    identity = {
        "model": model_identity(args.model) if path else {},
        "lang": orders.lang,
        "decode": orders.decode or model.decodes[0],
        "hotwords": orders.hotwords,
        "words": orders.words,
        "int8": args.int8,
    }
    journal = Journal(path, identity, fresh=args.fresh)
    if journal.damaged:
        lines = "line" if journal.damaged == 1 else "lines"
        print(
            f"maya-transcribe: {path}: {journal.damaged} damaged {lines} passed over; that is done again",
            file=sys.stderr,
        )
    return journal


def _emitter(args: argparse.Namespace, found: Sequence[Source]) -> Callable[[int, Hypothesis], None]:
    """What puts the transcript of the source of a number where the user wants it."""
    alone = len(found) == 1
    if args.output is None:
        if args.format in ("srt", "vtt") and not alone:
            raise ValueError(
                f"`--output` must be given for {args.format} of {len(found)} files, which cannot share one"
            )
        return lambda number, hypothesis: print(
            _shown(args, found[number], hypothesis, alone), end="", flush=True
        )
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"`--output` must be a folder, got the file {args.output}")
    paths = outputs(found, args.output, writers.SUFFIXES[args.format])
    return lambda number, hypothesis: _write(
        paths[number], _shown(args, found[number], hypothesis, alone=True)
    )


def _shown(args: argparse.Namespace, source: Source, hypothesis: Hypothesis, alone: bool) -> str:
    hypothesis = styled(hypothesis, args.style, args.lang)
    if args.format == "jsonl":
        return writers.json_line(hypothesis, source.name)
    if args.format == "srt":
        return writers.srt(writers.segments_of(hypothesis))
    if args.format == "vtt":
        return writers.vtt(writers.segments_of(hypothesis))
    return writers.text(hypothesis, None if alone else source.name, args.timestamps)


def _write(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(content, encoding="utf-8", errors="backslashreplace")
    os.replace(unfinished, path)


def _mistake(transcript: Transcript) -> str:
    """One line that names the file as the user does."""
    told = str(transcript.mistake)
    if transcript.source.is_kept:
        return told
    return told.replace(str(transcript.source.path), "standard input")


def _whole_seconds(progress: Progress) -> Callable[[float], None]:
    """Count seconds that come in fractions."""
    known = [0.0, 0.0]  # counted, shown

    def advance(seconds: float) -> None:
        known[0] += seconds
        whole = int(known[0] - known[1])
        known[1] += whole
        progress.advance(whole)

    return advance
