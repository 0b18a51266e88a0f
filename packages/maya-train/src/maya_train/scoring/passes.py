"""The scoring pass: CTC loss and character errors of every segment, in files that a later start finds again.

Segments are taken in the order of the index, some thousands to a file. What a file holds depends on these
segments alone, and not on which process computed it or when, so any number of processes may share the work.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.fabric import Fabric

from maya_data.audio.fetch import read_audio
from maya_data.indexing.segments import SegmentIndex
from maya_data.loading.batch import Batch
from maya_data.loading.epochs import Planned
from maya_data.loading.reading import Job, Reader
from maya_data.loading.stream import Stream, Workers
from maya_encoder.acoustic_model import AcousticModel
from maya_eval.metrics import char_errors
from maya_eval.normalize import profile

CHUNK = 4_096
"""Segments whose scores are in one file."""
PROFILE = "indic-strict-v1"
COLUMNS = {"row": pa.int64(), "loss": pa.float32(), "cer": pa.float32()}
HEAD = "ctc"

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Scores:
    """Of segments, by their numbers."""

    rows: Ints
    """Segment numbers (N,), rising."""
    loss: Floats
    """Negative log-likelihood of a token of the transcript (N,); not finite where it cannot be computed."""
    cer: Floats
    """Character errors of greedy CTC over characters of the transcript (N,); NaN where the audio is bad."""


@dataclass(frozen=True)
class Pass:
    """What is scored, by what, and how the audio is read."""

    model: AcousticModel
    index: SegmentIndex
    rows: Ints
    """Segment numbers, rising."""
    folder: Path
    """For the files."""
    batch_duration: float = 60.0
    """Seconds of padded audio in a batch."""
    num_workers: int = 0
    """Loader processes."""


def score(fabric: Fabric, work: Pass, say: Say = lambda text: None) -> Scores:
    """Score what is not scored yet, each process its share, and read all of it."""
    work.folder.mkdir(parents=True, exist_ok=True)
    model = work.model.to(fabric.device).eval()
    chunks = [work.rows[start : start + CHUNK] for start in range(0, len(work.rows), CHUNK)]
    for number in range(fabric.global_rank, len(chunks), fabric.world_size):
        path = _file(work.folder, number)
        if _is_whole(path, chunks[number]):
            continue
        loss, cer = _score_chunk(fabric, model, work, chunks[number])
        _write(path, Scores(chunks[number], loss, cer))
        say(f"scores: {number + 1} of {len(chunks)} files kept in {work.folder}")
    fabric.barrier()
    return read_scores(work.folder, len(chunks))


def read_scores(folder: Path, files: int) -> Scores:
    """The first `files` files of a pass."""
    tables = [pq.read_table(_file(folder, number)) for number in range(files)]
    table = pa.concat_tables(tables) if tables else pa.schema(list(COLUMNS.items())).empty_table()
    row, loss, cer = (table[name].to_numpy() for name in COLUMNS)
    return Scores(row, loss, cer)


@torch.inference_mode()
def _score_chunk(fabric: Fabric, model: AcousticModel, work: Pass, rows: Ints) -> tuple[Floats, Floats]:
    loss, cer = np.full((2, len(rows)), np.nan, np.float32)
    for read, batch in _batches(work, rows, model):
        with fabric.autocast():
            found, texts = score_batch(model, batch.to(fabric.device))
        at = np.searchsorted(rows, read)
        loss[at] = found
        cer[at] = _rates(batch, texts)
    return loss, cer


def score_batch(model: AcousticModel, batch: Batch) -> tuple[Floats, list[str]]:
    """Loss of a token (B,) of the CTC head, infinite where there are too few frames, and its greedy text."""
    encoder_out, lens = model.encode(batch.waveforms, batch.waveform_lens, batch.langs)
    tokens, token_lens = model.tokenize(batch.texts, batch.langs)
    head = model.head(HEAD)
    loss = head.loss(encoder_out, lens, tokens, token_lens, model.optional_lang_ids(batch.langs))
    loss = torch.where(head.infeasible(lens, tokens, token_lens), torch.inf, loss / token_lens.clamp(min=1))
    return loss.float().cpu().numpy(), model.decode(encoder_out, lens, batch.langs, HEAD)


def _rates(batch: Batch, texts: list[str]) -> list[float]:
    normalize = profile(PROFILE)
    found = []
    for ref, hyp, lang in zip(batch.texts, texts, batch.langs, strict=True):
        counts = char_errors(normalize(ref, lang), normalize(hyp, lang))
        found.append(counts.errors / counts.ref if counts.ref else float("nan"))
    return found


def _batches(work: Pass, rows: Ints, model: AcousticModel) -> Iterator[tuple[Ints, Batch]]:
    """The segments of a chunk from long to short, with their numbers; what cannot be read is left out."""
    rate = model.frontend.sampling_rate
    reader = Reader(work.index, rate, model.config.text, read_audio)
    jobs = (Planned(Job(part)) for part in _cut(work, rows))
    for planned, loaded in Stream(jobs, reader, Workers(work.num_workers)):
        if loaded.batch is not None:
            ids = planned.job.ids
            yield ids[~np.isin(ids, [row for row, _ in loaded.failures])], loaded.batch


def _cut(work: Pass, rows: Ints) -> Iterator[Ints]:
    durations = np.asarray(work.index.durations)[rows]
    order = np.argsort(-durations, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, int(work.batch_duration / float(durations[order[start]])))
        yield rows[order[start : start + size]]
        start += size


def _file(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"


def _is_whole(path: Path, rows: Ints) -> bool:
    """Whether a file is there and holds the scores of these segments."""
    try:
        return bool(np.array_equal(pq.read_table(path, columns=["row"])["row"].to_numpy(), rows))
    except (OSError, KeyError, pa.ArrowException):
        return False


def _write(path: Path, scores: Scores) -> None:
    columns = zip(COLUMNS.items(), (scores.rows, scores.loss, scores.cer), strict=True)
    table = pa.table({name: pa.array(values, kind) for (name, kind), values in columns})
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        pq.write_table(table, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
