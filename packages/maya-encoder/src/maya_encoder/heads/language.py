"""Each language may write only its own pieces: log-domain masks over the vocabulary."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

FORBIDDEN = -1e4  # far below any logit, and finite: the CTC gradient of -inf is not a number


def vocabulary_bias(vocab_size: int, lang_vocab: Mapping[str, Sequence[int]] | None) -> Tensor | None:
    """What to add to the logits of each language (languages, V): 0 for its own ids and the blank."""
    if lang_vocab is None:
        return None
    bias = torch.full((len(lang_vocab), vocab_size), FORBIDDEN)
    for row, (lang, ids) in zip(bias, lang_vocab.items(), strict=True):
        if not ids or min(ids) < 0 or max(ids) >= vocab_size - 1:
            raise ValueError(f"`lang_vocab` of {lang!r} must hold ids from 0 to {vocab_size - 2}")
        row[list(ids)] = 0
    bias[:, -1] = 0
    return bias


def bias_of(bias: Tensor | None, lang_ids: Tensor | None) -> Tensor | None:
    """The row of each utterance (B, V); without language ids nothing is forbidden."""
    return None if bias is None or lang_ids is None else bias[lang_ids]
