"""What `maya-transcribe` does once its command line is read."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from maya_bridge.any_model import AnyModel, open_model
from maya_bridge.dask_fleet import fleet
from maya_bridge.transcribe_files import writers
from maya_bridge.transcribe_files.batching import measured
from maya_bridge.transcribe_files.inputs import Source, outputs, sources
from maya_bridge.transcribe_files.job import Job, Orders, Transcript
from maya_bridge.transcribe_files.resume import NAME, Journal, model_identity
from maya_bridge.transcribe_files.shared import UNIT, SharedJob, Work, sizes
from maya_bridge.transcribe_files.style import styled
from maya_bridge.units import Member, member
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
    if args.dask is not None or args.shared or member().world > 1:
        return _run_shared(args, orders, found, emit)
    model = _open(args, orders, args.device)
    journal = Journal(_notes(args), _identity(args, orders, model), fresh=args.fresh)
    _tell_damage(journal, _notes(args))
    failed = _transcribe(model, orders, journal, found, emit)
    return _status(failed, found)


def _run_shared(
    args: argparse.Namespace, orders: Orders, found: Sequence[Source], emit: Callable[[int, Hypothesis], None]
) -> int:
    """Transcribe together with other processes; the exit status.

    Ranks end with 0 although files failed: at another status torchrun would start all of them again.
    """
    path = _shared_notes(args, found)
    me = member() if args.dask is None else Member()
    # Whoever has a cluster work opens the model only to know what it can do.
    model = _open(args, orders, me.device(args.device) if args.dask is None else "cpu")
    size = args.unit or UNIT * args.batch_size
    failed: list[str] = []
    with ExitStack() as stack:
        client = None if args.dask is None else stack.enter_context(fleet(args.dask))
        job = stack.enter_context(SharedJob(path, _identity(args, orders, model), found, size, me))
        _tell_damage(job.journal, path)
        if client is None:
            job.do(model, orders)
        else:
            where = args.model.absolute()
            job.do_by_fleet(client, Work(where, args.device, args.int8, orders, sizes(where)))
        transcripts = job.transcripts()
        if transcripts is None:
            return 0
        for number, transcript in enumerate(transcripts):
            _give(number, transcript, emit, failed)
    status = _status(failed, found)
    return 0 if client is None else status


def _shared_notes(args: argparse.Namespace, found: Sequence[Source]) -> Path:
    """The journal that processes share."""
    path = _notes(args)
    if path is None:
        raise ValueError("`--output` or `--resume` must be given where several processes share the work")
    if args.fresh:
        raise ValueError(f"`--fresh` cannot be shared by several processes; remove {path} instead")
    if not all(source.is_kept for source in found):
        raise ValueError("standard input cannot be shared by several processes")
    if args.unit is not None and args.unit < 1:
        raise ValueError(f"`--unit` must be 1 or more, got {args.unit}")
    return path


def _open(args: argparse.Namespace, orders: Orders, device: str) -> AnyModel:
    """The model, which can do what is asked."""
    if re.fullmatch(r"cuda:\d+", device):
        torch.cuda.set_device(device)
    model = open_model(args.model, device, args.int8)
    model.check(orders.lang, orders.decode, orders.hotwords)
    if model.saving is not None:
        print(f"maya-transcribe: {model.saving}", file=sys.stderr)
    return model


def _status(failed: Sequence[str], found: Sequence[Source]) -> int:
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
                _give(number, transcript, emit, failed)
    return failed


def _give(
    number: int, transcript: Transcript, emit: Callable[[int, Hypothesis], None], failed: list[str]
) -> None:
    """Put a transcript where the user wants it, or say what was wrong and add the name to `failed`."""
    if transcript.hypothesis is None:
        failed.append(transcript.source.name)
        print(f"maya-transcribe: {_mistake(transcript)}", file=sys.stderr, flush=True)
    else:
        emit(number, transcript.hypothesis)


def _orders(args: argparse.Namespace) -> Orders:
    hotwords = tuple(word.strip() for word in args.hotwords.split(",") if word.strip())
    words = args.timestamps or args.format != "text" or args.style != "raw"
    return Orders(
        lang=args.lang, decode=args.decode, hotwords=hotwords, words=words, batch_size=args.batch_size
    )


def _notes(args: argparse.Namespace) -> Path | None:
    """Where finished work is noted."""
    path: Path | None = args.resume or (args.output / NAME if args.output else None)
    return path


def _identity(args: argparse.Namespace, orders: Orders, model: AnyModel) -> dict[str, object]:
    """What a transcript depends on, apart from its file."""
    return {
        "model": model_identity(args.model) if _notes(args) else {},
        "lang": orders.lang,
        "decode": orders.decode or model.decodes[0],
        "hotwords": orders.hotwords,
        "words": orders.words,
        "int8": args.int8,
    }


def _tell_damage(journal: Journal, path: Path | None) -> None:
    if journal.damaged:
        lines = "line" if journal.damaged == 1 else "lines"
        print(
            f"maya-transcribe: {path}: {journal.damaged} damaged {lines} passed over; that is done again",
            file=sys.stderr,
        )


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
