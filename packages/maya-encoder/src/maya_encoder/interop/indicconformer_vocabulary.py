"""The vocabulary of IndicConformer's files: pieces of each language, without scores."""

from pathlib import Path
from typing import Any

from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.parakeet_files import read_json
from maya_encoder.interop.sentencepiece_proto import (
    ModelKind,
    Piece,
    PieceKind,
    SentencePieceModel,
    serialize_model,
)
from maya_encoder.tokenizer import Tokenizer

UNKNOWN = "<unk>"


def read_tokenizer(assets: Path) -> tuple[Tokenizer, list[str]]:
    """A SentencePiece model for each language, in the order of their rows, and notes.

    Raises:
        BadCheckpoint: vocabulary and masks do not fit each other.
    """
    vocabulary = read_json(assets / "vocab.json")
    masks = read_json(assets / "language_masks.json")
    if missing := sorted(set(masks) ^ set(vocabulary)):
        raise BadCheckpoint(
            f"{assets}: vocab.json and language_masks.json must name the same languages,"
            f" got {missing[0]!r} in one"
        )
    rows = _rows(masks, assets)
    models = {
        lang: _model(vocabulary[lang], len(rows[lang]), f"{assets}: vocab.json of {lang!r}") for lang in rows
    }
    note = (
        "pieces come without scores: they are taken as BPE in the order of their ids, so a text may be cut"
        " differently than in training; what the model writes is the same"
    )
    return Tokenizer(models), [note]


def _rows(masks: dict[str, Any], assets: Path) -> dict[str, list[int]]:
    """The rows of each language without the blank, one language after the other."""
    found = {lang: [row for row, own in enumerate(mask) if own] for lang, mask in masks.items()}
    ordered = dict(sorted(found.items(), key=lambda item: item[1][:1]))
    start = 0
    for lang, rows in ordered.items():
        blank = len(masks[lang]) - 1
        if rows != [*range(start, start + len(rows) - 1), blank] or len(rows) < 2:
            raise BadCheckpoint(
                f"{assets}: language_masks.json of {lang!r} must be one block of rows from {start} on and the"
                f" last row, got {len(rows)} rows from {rows[0] if rows else 'none'} on"
            )
        rows.pop()
        start += len(rows)
    if any(len(mask) != start + 1 for mask in masks.values()):
        raise BadCheckpoint(
            f"{assets}: language_masks.json must have {start + 1} rows, one a piece and the blank"
        )
    return ordered


def _model(pieces: Any, size: int, source: str) -> bytes:
    """BPE in the order of the ids; names behind the last piece, as of the blank, are left out."""
    if not isinstance(pieces, list) or len(pieces) < size or len(set(pieces[:size])) < size:
        raise BadCheckpoint(f"{source} must list {size} different pieces")
    if UNKNOWN not in pieces[:size]:
        raise BadCheckpoint(f"{source} has no {UNKNOWN!r}, which SentencePiece needs")
    listed = [
        Piece(text, kind=PieceKind.UNKNOWN) if text == UNKNOWN else Piece(text, -float(rank))
        for rank, text in enumerate(pieces[:size])
    ]
    return serialize_model(SentencePieceModel(listed, ModelKind.BPE))
