"""Tokens of every text, counted once for a tokenizer and kept beside the index as a column of its own.

Counted is the text that a model learns: the raw one in the spelling of the index's text profile.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from maya_data.indexing.atomic import atomic
from maya_data.indexing.segments import Column, SegmentIndex
from maya_data.text import profile

ROWS_A_TASK = 1 << 16
TASKS_AT_ONCE = 256
ROWS_ENCODED = 4096
"""Texts that are encoded at once."""
MOST_TOKENS = 65_535
"""Longer texts count as this long."""


def tokenizer_hash(model: str | Path) -> str:
    """Return the first 16 digits of the SHA-256 of a SentencePiece model.

    Raises:
        ValueError: There is no such file, or a folder holds not exactly one model.
    """
    return hashlib.sha256(_model_file(model).read_bytes()).hexdigest()[:16]


def token_counts(index: SegmentIndex, tokenizer: str) -> Column | None:
    """Return the tokens of every text (N,) uint16 by the model with this hash, memory-mapped.

    None where `count_tokens` has not been run, or was run on the index before it grew.
    """
    column, about = _files(index, tokenizer)
    try:
        said = json.loads(about.read_text("utf-8"))
        counts: Column = np.load(column, mmap_mode="r" if len(index) else None)
    except (OSError, ValueError, EOFError):
        return None
    fits = said == _about(index) and len(counts) == len(index)
    return counts if fits else None


def count_tokens(index: SegmentIndex, model: str | Path, executor: Executor | None = None) -> str:
    """Count the tokens of every text, unless that is done, and return the hash of the model.

    Args:
        index: Its folder gets the column `tokens-<hash>.npy`.
        model: SentencePiece model, or a folder with one.
        executor: Does some ten thousand rows a task; None does them here.

    Raises:
        ValueError: There is no such model.
        DiskFull: There is no room for the column.
    """
    file = _model_file(model)
    tokenizer = tokenizer_hash(file)
    if token_counts(index, tokenizer) is not None:
        return tokenizer
    column, about = _files(index, tokenizer)
    about.unlink(missing_ok=True)
    with atomic(column) as temporary, open(temporary, "wb") as out:
        head = {"descr": "<u2", "fortran_order": False, "shape": (len(index),)}
        np.lib.format.write_array_header_1_0(out, head)
        for counts in _counted(index, str(file), executor):
            counts.tofile(out)
    with atomic(about) as temporary:
        temporary.write_text(json.dumps(_about(index)), "utf-8")
    return tokenizer


def _counted(index: SegmentIndex, model: str, executor: Executor | None) -> Iterator[Column]:
    """Yield the counts of all rows, in order."""
    starts = iter(range(0, len(index), ROWS_A_TASK))
    if executor is None:
        yield from (_count(index, start, model) for start in starts)
        return
    while some := list(islice(starts, TASKS_AT_ONCE)):
        futures = [executor.submit(_count, index, start, model) for start in some]
        yield from (future.result() for future in futures)


def _count(index: SegmentIndex, start: int, model: str) -> Column:
    """Count the tokens of the texts of one task."""
    processor, normalize = _processor(model), profile(index.text_profile).normalize
    counts = []
    for first in range(start, min(start + ROWS_A_TASK, len(index)), ROWS_ENCODED):
        stop = min(first + ROWS_ENCODED, start + ROWS_A_TASK, len(index))
        langs = (index.langs[lang] for lang in np.asarray(index.lang_ids[first:stop]).tolist())
        texts = map(normalize, index.strings("text", first, stop), langs)
        counts += [min(len(ids), MOST_TOKENS) for ids in processor.encode(list(texts), num_threads=1)]
    return np.array(counts, np.uint16)


@lru_cache(2)
def _processor(model: str) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=model)


def _files(index: SegmentIndex, tokenizer: str) -> tuple[Path, Path]:
    return index.path / f"tokens-{tokenizer}.npy", index.path / f"tokens-{tokenizer}.json"


def _about(index: SegmentIndex) -> dict[str, str]:
    """Return what must be the same for counts to hold."""
    return {"fingerprint": index.fingerprint, "text": index.text_profile}


def _model_file(model: str | Path) -> Path:
    path = Path(model)
    found = sorted(path.glob("*.model")) if path.is_dir() else [path]
    if len(found) != 1:
        raise ValueError(f"{path} must hold one SentencePiece model, it has {len(found)}")
    if not found[0].is_file():
        raise ValueError(f"there is no SentencePiece model {found[0]}")
    return found[0]
