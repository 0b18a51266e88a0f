"""The tokenizer.json of a Hugging Face checkpoint as a SentencePiece model; see `parakeet_tokenizer`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

from maya_encoder.interop.parakeet_tokenizer import SPACE, Json, merges_of
from maya_encoder.interop.sentencepiece_proto import (
    ModelKind,
    Piece,
    PieceKind,
    SentencePieceModel,
    serialize_model,
)
from maya_encoder.tokenizer import BadTokenizer

_BYTE_PIECES = {f"<0x{value:02X}>" for value in range(256)}
_DECODERS = {"Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"}
_SPACE_RUNS = (" {2,}", " +", r"\s{2,}", r"\s+")


@dataclass
class Vocabulary:
    """A tokenizer in the shape that a model needs: one piece a row of its heads, without the blank."""

    proto: bytes
    notes: list[str] = field(default_factory=list)


def from_tokenizer_json(tokenizer: Json, vocab_size: int, blank_id: int) -> Vocabulary:
    """The SentencePiece model that writes what the tokenizer writes.

    Args:
        tokenizer: contents of tokenizer.json.
        vocab_size: rows of the model's heads, with the blank.
        blank_id: the row that stands for the blank; ids above it move down by one.

    Raises:
        BadTokenizer: the tokenizer works in a way that SentencePiece has no words for.
    """
    model_json = tokenizer.get("model") or {}
    _check_kind(model_json)
    kind = ModelKind.UNIGRAM if model_json.get("type") == "Unigram" else ModelKind.BPE
    model = SentencePieceModel([], kind, byte_fallback=bool(model_json.get("byte_fallback")))
    _read_normalizer(model, _flat(tokenizer.get("normalizer"), "normalizers"))
    _read_pre_tokenizer(model, _flat(tokenizer.get("pre_tokenizer"), "pretokenizers"))
    _check_decoder(_flat(tokenizer.get("decoder"), "decoders"))
    model.pieces = _pieces(tokenizer, vocab_size, blank_id)
    notes = []
    if kind is ModelKind.BPE:
        notes = _score_by_merges(model.pieces, model_json.get("merges") or [])
    return Vocabulary(serialize_model(model), notes)


def placeholder(vocab_size: int) -> bytes:
    """A model that writes the ids themselves, `<0><1>...`, for a checkpoint without a tokenizer."""
    pieces = [Piece(f"<{i}>") for i in range(vocab_size)]
    pieces[0].kind = PieceKind.UNKNOWN
    return serialize_model(SentencePieceModel(pieces))


def _check_kind(model: Json) -> None:
    if model.get("type") not in ("BPE", "Unigram"):
        raise BadTokenizer(
            f"`model.type` of tokenizer.json must be BPE or Unigram to become a SentencePiece model,"
            f" got {model.get('type')!r}"
        )
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(key):
            raise BadTokenizer(
                f"`model.{key}` of tokenizer.json is {model[key]!r}, which SentencePiece cannot do"
            )


def _flat(step: Json | None, inner: str) -> list[Json]:
    """The steps of a normaliser, pre-tokenizer or decoder, with sequences opened."""
    if step is None:
        return []
    if step.get("type") != "Sequence":
        return [step]
    return list(chain.from_iterable(_flat(each, inner) for each in step.get(inner) or []))


def _read_normalizer(model: SentencePieceModel, steps: Sequence[Json]) -> None:
    model.add_dummy_prefix = model.remove_extra_whitespaces = False
    for step in steps:
        if step.get("type") == "Precompiled":
            model.charsmap = base64.b64decode(step.get("precompiled_charsmap") or "")
            model.normalizer_name = "custom" if model.charsmap else "identity"
        elif step.get("type") == "Prepend" and step.get("prepend") in (SPACE, " "):
            model.add_dummy_prefix = True
        elif _joins_spaces(step):
            model.remove_extra_whitespaces = True
        elif not _leaves_to_sentencepiece(step):
            told = {key: value for key, value in step.items() if key != "type"}
            raise BadTokenizer(
                f"the normaliser {step.get('type')} {told} of tokenizer.json has no counterpart in"
                " SentencePiece"
            )


def _joins_spaces(step: Json) -> bool:
    pattern = step.get("pattern") or {}
    joins = step.get("type") == "Replace" and step.get("content") in (" ", SPACE)
    return joins and pattern.get("Regex") in _SPACE_RUNS


def _leaves_to_sentencepiece(step: Json) -> bool:
    """Steps that SentencePiece takes anyway: it trims, writes spaces its own way, and Maya's text is NFC."""
    pattern = step.get("pattern") or {}
    if step.get("type") in ("Strip", "NFC"):
        return True
    if step.get("type") != "Replace":
        return False
    escapes = pattern.get("String") == " " and step.get("content") == SPACE
    return escapes or (step.get("content") == "" and pattern.get("Regex") == r"\A +| +\z")


def _read_pre_tokenizer(model: SentencePieceModel, steps: Sequence[Json]) -> None:
    for step in steps:
        if step.get("type") == "WhitespaceSplit":
            model.remove_extra_whitespaces = True
        elif step.get("type") == "Metaspace" and step.get("replacement", SPACE) == SPACE:
            adds = step.get("add_prefix_space", True)
            scheme = step.get("prepend_scheme", "always" if adds else "never")
            model.add_dummy_prefix = model.add_dummy_prefix or scheme != "never"
        else:
            raise BadTokenizer(
                f"the pre-tokenizer {step.get('type')} of tokenizer.json has no counterpart in SentencePiece;"
                " it must be Metaspace"
            )


def _check_decoder(steps: Sequence[Json]) -> None:
    for step in steps:
        if step.get("type") not in _DECODERS:
            raise BadTokenizer(
                f"the decoder {step.get('type')} of tokenizer.json has no counterpart in SentencePiece;"
                f" it must be made of {', '.join(sorted(_DECODERS))}"
            )
        pattern = step.get("pattern") or {}
        if step["type"] == "Replace" and pattern.get("String") != SPACE:
            raise BadTokenizer(
                f"the decoder of tokenizer.json replaces {pattern}, which SentencePiece cannot do"
            )


def _pieces(tokenizer: Json, vocab_size: int, blank_id: int) -> list[Piece]:
    """The pieces in the order of the model's rows; a row that no token names gets a control piece."""
    by_id = {index: piece for index, piece in _tokens(tokenizer) if index != blank_id and index < vocab_size}
    pieces = [
        by_id.get(index, Piece(f"<row {index}>", kind=PieceKind.CONTROL))
        for index in range(vocab_size)
        if index != blank_id
    ]
    if not any(piece.kind is PieceKind.UNKNOWN for piece in pieces):
        spare = next((piece for piece in pieces if piece.kind is PieceKind.CONTROL), None)
        if spare is None:
            raise BadTokenizer("tokenizer.json names no unknown token, and SentencePiece needs one")
        spare.kind = PieceKind.UNKNOWN
    return pieces


def _tokens(tokenizer: Json) -> list[tuple[int, Piece]]:
    model = tokenizer["model"]
    vocab = model.get("vocab") or {}
    listed = (
        [(text, index, 0.0) for text, index in vocab.items()]
        if isinstance(vocab, Mapping)
        else [(text, index, float(score)) for index, (text, score) in enumerate(vocab)]
    )
    unknown = model.get("unk_token")
    if model["type"] == "Unigram" and model.get("unk_id") is not None:
        unknown = listed[model["unk_id"]][0]
    added = {token["id"]: token for token in tokenizer.get("added_tokens") or []}
    tokens = [(text, index, score) for text, index, score in listed if index not in added]
    tokens += [(token["content"], index, 0.0) for index, token in added.items()]
    fallback = bool(model.get("byte_fallback"))
    return [
        (index, Piece(text, score, _piece_kind(text, text == unknown, added.get(index), fallback)))
        for text, index, score in tokens
    ]


def _piece_kind(text: str, unknown: bool, added: Json | None, byte_fallback: bool) -> PieceKind:
    if unknown:
        return PieceKind.UNKNOWN
    if added is not None:
        return PieceKind.CONTROL if added.get("special") else PieceKind.USER_DEFINED
    return PieceKind.BYTE if byte_fallback and text in _BYTE_PIECES else PieceKind.NORMAL


def _score_by_merges(pieces: list[Piece], merges: Sequence[Any]) -> list[str]:
    """Give each piece the score that makes SentencePiece merge in the order of `merges`.

    SentencePiece knows scores of pieces, not of pairs; so every pair that makes a piece must be listed, next
    to each other. Where that is not so, text may be cut differently, which changes nothing that a model
    writes.
    """
    pairs = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in merges]
    first = {left + right: rank for rank, (left, right) in reversed(list(enumerate(pairs)))}
    last = {left + right: rank for rank, (left, right) in enumerate(pairs)}
    for piece in pieces:
        if piece.kind is PieceKind.NORMAL:
            piece.score = -float(first.get(piece.text, len(pairs)))
    left_out = set(merges_of(pieces)) - set(pairs)
    by_rank = sorted(first, key=first.__getitem__)
    interleaved = [b for a, b in pairwise(by_rank) if last[a] > first[b]]
    if not left_out and not interleaved:
        return []
    example = "".join(min(left_out)) if left_out else interleaved[0]
    return [
        f"tokenizer.json does not list every way to build a piece such as {example!r} in one place, as"
        " SentencePiece does: it may cut a text into other pieces than transformers; what the model writes is"
        " the same"
    ]
