"""A SentencePiece model as the tokenizer.json of Hugging Face's `tokenizers`, and back.

Both cut text the same way: SentencePiece merges the pair whose piece has the best score, a BPE of
tokenizer.json the pair that comes first in its list; Unigram is the same search in both. Spaces become U+2581
in the normaliser, so that no pre-tokenizer is needed and pieces may span words, as SentencePiece allows.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from maya_encoder.interop.sentencepiece_proto import (
    ModelKind,
    Piece,
    PieceKind,
    SentencePieceModel,
    parse_model,
)
from maya_encoder.tokenizer import BadTokenizer

SPACE = "\u2581"
SHOWN_KINDS = (PieceKind.CONTROL, PieceKind.UNKNOWN)
"""Kinds whose pieces are no text; `skip_special_tokens` drops them."""

Json = dict[str, Any]


def to_tokenizer_json(proto: bytes, blank: str, unfolding: Mapping[str, str] | None = None) -> Json:
    """The contents of tokenizer.json.

    Args:
        proto: a SentencePiece model file.
        blank: name of the token that is added behind the last piece.
        unfolding: characters to replace in text that is read from tokens, for a model of the common script.

    Raises:
        BadTokenizer: the model cuts text in a way that tokenizer.json has no words for.
    """
    model = parse_model(proto)
    _check_expressible(model, blank)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(i, text, special) for i, text, special in _added_tokens(model, blank)],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(model)},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": _decoders(model, unfolding or {})},
        "model": _unigram(model) if model.kind is ModelKind.UNIGRAM else _bpe(model),
    }


def merges_of(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a third, best first: what SentencePiece's BPE may merge.

    Pieces that are no text are never built, and a user's own symbol is never part of another piece.
    """
    score = {piece.text: piece.score for piece in pieces if piece.kind is PieceKind.NORMAL}
    found = [
        (-score[text], text[:cut], text[cut:])
        for text in score
        for cut in range(1, len(text))
        if text[:cut] in score and text[cut:] in score
    ]
    return [(left, right) for _, left, right in sorted(found, key=lambda merge: merge[0])]


def _check_expressible(model: SentencePieceModel, blank: str) -> None:
    if model.kind is ModelKind.WORD:
        raise BadTokenizer("a SentencePiece model of the kind WORD has no counterpart in tokenizer.json")
    for setting, found in (
        ("escape_whitespaces", not model.escape_whitespaces),
        ("treat_whitespace_as_suffix", model.whitespace_as_suffix),
        ("denormalizer_spec", model.denormalizes),
    ):
        if found:
            raise BadTokenizer(
                f"the SentencePiece model sets `{setting}`, which tokenizer.json cannot express"
            )
    if unused := [piece.text for piece in model.pieces if piece.kind is PieceKind.UNUSED]:
        raise BadTokenizer(
            f"the SentencePiece model marks {unused[0]!r} as UNUSED, which tokenizer.json cannot express"
        )
    if blank in {piece.text for piece in model.pieces}:
        raise BadTokenizer(f"the blank cannot be called {blank!r}: a piece of the tokenizer has that name")


def _added_tokens(model: SentencePieceModel, blank: str) -> list[tuple[int, str, bool]]:
    """Ids, texts and specialness of tokens that are looked for before text is cut.

    A user's symbol of one character is left to the model: no merge touches it.
    """
    kinds = (*SHOWN_KINDS, PieceKind.USER_DEFINED)
    found = [
        (i, piece.text, piece.kind in SHOWN_KINDS)
        for i, piece in enumerate(model.pieces)
        if piece.kind in kinds and not _is_single_symbol(piece)
    ]
    return [*found, (len(model.pieces), blank, True)]


def _is_single_symbol(piece: Piece) -> bool:
    return piece.kind is PieceKind.USER_DEFINED and len(piece.text) == 1


def _added(index: int, text: str, special: bool) -> Json:
    ways = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": text, **ways, "special": special}


def _normalizers(model: SentencePieceModel) -> list[Json]:
    steps: list[Json] = []
    if model.charsmap:
        compiled = base64.b64encode(model.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": compiled})
    if model.remove_extra_whitespaces:
        steps.append({"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if model.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    return [*steps, _replace(" ", SPACE)]


def _decoders(model: SentencePieceModel, unfolding: Mapping[str, str]) -> list[Json]:
    steps = [_replace(SPACE, " ")]
    if model.byte_fallback:
        steps.append({"type": "ByteFallback"})
    steps += [{"type": "Fuse"}, *(_replace(old, new) for old, new in unfolding.items())]
    if model.add_dummy_prefix or model.remove_extra_whitespaces:
        start = 1_000_000 if model.remove_extra_whitespaces else 1  # leading spaces that are dropped
        steps.append({"type": "Strip", "content": " ", "start": start, "stop": 0})
    return steps


def _replace(old: str, new: str) -> Json:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _unigram(model: SentencePieceModel) -> Json:
    return {
        "type": "Unigram",
        "unk_id": model.unk_id,
        "vocab": [[piece.text, _unigram_score(piece, model)] for piece in model.pieces],
        "byte_fallback": model.byte_fallback,
    }


def _unigram_score(piece: Piece, model: SentencePieceModel) -> float:
    """A user's symbol wins over any other way to cut it, as in SentencePiece's own search."""
    if not _is_single_symbol(piece):
        return piece.score
    return max(other.score for other in model.pieces if other.kind is PieceKind.NORMAL) - 0.1


def _bpe(model: SentencePieceModel) -> Json:
    """BPE, or with no merges the model of single characters."""
    merges = [] if model.kind is ModelKind.CHAR else merges_of(model.pieces)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.pieces[model.unk_id].text,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": False,
        "vocab": {piece.text: i for i, piece in enumerate(model.pieces)},
        "merges": [list(merge) for merge in merges],
    }
