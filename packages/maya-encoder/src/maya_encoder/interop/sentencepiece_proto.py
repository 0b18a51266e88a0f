"""A SentencePiece model file as plain values, and back, without the protobuf library.

Field numbers are those of sentencepiece_model.proto; what is not listed here is left out when writing: it
concerns training, not use.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from maya_encoder.tokenizer import BadTokenizer

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NONE_ID = -1


class ModelKind(IntEnum):
    """How text is cut into pieces."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


class PieceKind(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass
class Piece:
    """One row of the vocabulary; its place is its id."""

    text: str
    score: float = 0.0
    kind: PieceKind = PieceKind.NORMAL


@dataclass
class SentencePieceModel:
    """What encoding and decoding depend on."""

    pieces: list[Piece]
    kind: ModelKind = ModelKind.UNIGRAM
    byte_fallback: bool = False
    charsmap: bytes = b""
    """Compiled normalisation rules; empty for none."""
    normalizer_name: str = "identity"
    add_dummy_prefix: bool = True
    """Put a space before the first word."""
    remove_extra_whitespaces: bool = True
    """One space where there are several, none at the ends."""
    escape_whitespaces: bool = True
    """Write spaces as U+2581."""
    whitespace_as_suffix: bool = False
    """Let that sign close a word, not open it."""
    denormalizes: bool = field(default=False, compare=False)
    """Whether decoding ends with rules of its own; these are not kept."""

    @property
    def unk_id(self) -> int:
        """The first unknown piece, or -1."""
        return next((i for i, piece in enumerate(self.pieces) if piece.kind is PieceKind.UNKNOWN), _NONE_ID)


def parse_model(proto: bytes) -> SentencePieceModel:
    """The model of a `.model` file.

    Raises:
        BadTokenizer: the bytes are no such file.
    """
    try:
        return _parse(proto)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise BadTokenizer(f"the bytes given are no SentencePiece model: {error}") from None


def serialize_model(model: SentencePieceModel) -> bytes:
    """The `.model` file of a model; the inverse of `parse_model`."""
    pieces = b"".join(_message(1, _piece_bytes(piece)) for piece in model.pieces)
    trainer = (
        _number(3, model.kind)
        + _number(4, len(model.pieces))
        + _number(24, model.whitespace_as_suffix)
        + _number(35, model.byte_fallback)
        + _number(40, model.unk_id)
        + b"".join(_number(key, _NONE_ID) for key in (41, 42, 43))
        + _message(45, model.pieces[model.unk_id].text.encode())
    )
    normalizer = (
        _message(1, model.normalizer_name.encode())
        + _message(2, model.charsmap)
        + _number(3, model.add_dummy_prefix)
        + _number(4, model.remove_extra_whitespaces)
        + _number(5, model.escape_whitespaces)
    )
    return pieces + _message(2, trainer) + _message(3, normalizer)


def _parse(proto: bytes) -> SentencePieceModel:
    model = SentencePieceModel([])
    for key, value in _fields(proto):
        if key == 1:
            model.pieces.append(_piece(_as_bytes(value)))
        elif key == 2:
            _read_trainer(model, _as_bytes(value))
        elif key == 3:
            _read_normalizer(model, _as_bytes(value))
        elif key == 5:
            rules = dict(_fields(_as_bytes(value)))
            model.denormalizes = bool(rules.get(2))
    if not model.pieces:
        raise ValueError("there are no pieces")
    return model


def _piece(data: bytes) -> Piece:
    values = dict(_fields(data))
    return Piece(
        text=_as_bytes(values.get(1, b"")).decode(),
        score=struct.unpack("<f", _as_bytes(values.get(2, bytes(4))))[0],
        kind=PieceKind(_as_int(values.get(3, PieceKind.NORMAL))),
    )


def _piece_bytes(piece: Piece) -> bytes:
    score = _key(2, _FIXED32) + struct.pack("<f", piece.score)
    kind = b"" if piece.kind is PieceKind.NORMAL else _number(3, piece.kind)
    return _message(1, piece.text.encode()) + score + kind


def _read_trainer(model: SentencePieceModel, data: bytes) -> None:
    values = dict(_fields(data))
    model.kind = ModelKind(_as_int(values.get(3, ModelKind.UNIGRAM)))
    model.whitespace_as_suffix = bool(values.get(24, 0))
    model.byte_fallback = bool(values.get(35, 0))


def _read_normalizer(model: SentencePieceModel, data: bytes) -> None:
    values = dict(_fields(data))
    model.normalizer_name = _as_bytes(values.get(1, b"")).decode()
    model.charsmap = _as_bytes(values.get(2, b""))
    model.add_dummy_prefix = bool(values.get(3, 1))
    model.remove_extra_whitespaces = bool(values.get(4, 1))
    model.escape_whitespaces = bool(values.get(5, 1))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message; fixed-size numbers stay bytes."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            number, at = _read_varint(data, at)
            yield key >> 3, number
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if wire == _BYTES:
            size, at = _read_varint(data, at)
        if size is None or at + size > len(data):
            raise ValueError(f"a field of wire type {wire} at byte {at} does not fit")
        yield key >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return value | data[at] << shift, at + 1


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _number(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _message(number: int, data: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(data)) + data


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where text was expected")
    return value


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("text stands where a number was expected")
    return value
