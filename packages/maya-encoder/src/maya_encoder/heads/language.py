"""Each language may write only its own pieces: masks over one output layer, or an output layer each."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

FORBIDDEN = -1e4  # far below any logit, and finite: the CTC gradient of -inf is not a number

LangVocab = Mapping[str, Sequence[int]]
"""Ids of each language, in the order of the model's languages."""


def vocabulary_bias(vocab_size: int, lang_vocab: LangVocab | None) -> Tensor | None:
    """What to add to the logits of each language (languages, V): 0 for its own ids and the blank."""
    if lang_vocab is None:
        return None
    check_vocabulary(vocab_size, lang_vocab)
    bias = torch.full((len(lang_vocab), vocab_size), FORBIDDEN)
    for row, ids in zip(bias, lang_vocab.values(), strict=True):
        row[list(ids)] = 0
    bias[:, -1] = 0
    return bias


def check_vocabulary(vocab_size: int, lang_vocab: LangVocab) -> None:
    """Refuse ids of a language that are no labels."""
    for lang, ids in lang_vocab.items():
        if not ids or min(ids) < 0 or max(ids) >= vocab_size - 1:
            raise ValueError(f"`lang_vocab` of {lang!r} must hold ids from 0 to {vocab_size - 2}")


def bias_of(bias: Tensor | None, lang_ids: Tensor | None) -> Tensor | None:
    """The row of each utterance (B, V); without language ids nothing is forbidden."""
    return None if bias is None or lang_ids is None else bias[lang_ids]


def places_of(vocab_size: int, lang_vocab: LangVocab) -> Tensor:
    """Place of every id among the ids of each language (languages, V); -1 for the ids of others."""
    places = torch.full((len(lang_vocab), vocab_size), -1)
    for row, ids in zip(places, lang_vocab.values(), strict=True):
        row[list(ids)] = torch.arange(len(ids))
    return places


def by_language(lang_ids: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each language of a batch, with the places of its utterances."""
    for lang_id in sorted(set(lang_ids.tolist())):
        yield lang_id, (lang_ids == lang_id).nonzero()[:, 0]
