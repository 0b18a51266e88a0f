"""One door for every head: it chooses the search, and goes by language where each has an output layer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from maya_encoder.decoding.ctc_beam import ctc_beam
from maya_encoder.decoding.ctc_greedy import ctc_greedy
from maya_encoder.decoding.decoded import DecodedTokens
from maya_encoder.decoding.fusion import Scorer
from maya_encoder.decoding.options import DecodingOptions
from maya_encoder.decoding.transducer_beam import transducer_beam
from maya_encoder.decoding.transducer_greedy import transducer_greedy

GREEDY = DecodingOptions()


def decode(
    head: Any,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    lang_ids: Tensor | None = None,
    options: DecodingOptions = GREEDY,
) -> list[DecodedTokens]:
    """What a head hears in each utterance; whether it is a transducer or CTC, `head` itself tells.

    Args:
        head: one of a model's heads, in evaluation mode.
        encoder_out: encoder output (B, T, D).
        encoder_out_lens: valid frames (B,).
        lang_ids: place of each utterance's language (B,); without, no token is forbidden.
        options: the search.

    Raises:
        ValueError: no languages for a head that has an output layer for each.
    """
    return [found[0] for found in decode_nbest(head, encoder_out, encoder_out_lens, lang_ids, options)]


@torch.no_grad()
def decode_nbest(
    head: Any,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    lang_ids: Tensor | None = None,
    options: DecodingOptions = GREEDY,
    nbest: int = 1,
) -> list[list[DecodedTokens]]:
    """The `nbest` best sequences of each utterance, best first; the greedy search finds one. See `decode`."""
    if not getattr(head, "lang_outputs", False):
        return _decode(head, (encoder_out, encoder_out_lens), lang_ids, options, nbest)
    found: dict[int, list[DecodedTokens]] = {}
    for view, rows in views_of(head, lang_ids):
        part = encoder_out[rows], encoder_out_lens[rows]
        local = _decode(view, part, None, _in_local_ids(options, view.ids), nbest)
        for row, sequences in zip(rows.tolist(), local, strict=True):
            found[row] = [replace(one, tokens=[view.ids[i] for i in one.tokens]) for one in sequences]
    return [found[row] for row in range(len(encoder_out))]


def views_of(head: Any, lang_ids: Tensor | None) -> Iterator[tuple[Any, Tensor]]:
    """For a head with an output layer for each language: the head of each, and the places of its utterances.

    Raises:
        ValueError: no languages.
    """
    if lang_ids is None:
        raise ValueError("this head has an output layer for each language and needs `lang_ids`, got none")
    for lang_id in torch.unique(lang_ids).tolist():
        yield head.in_language(lang_id), (lang_ids == lang_id).nonzero()[:, 0]


def _decode(
    head: Any,
    encoded: tuple[Tensor, Tensor],
    lang_ids: Tensor | None,
    options: DecodingOptions,
    nbest: int,
) -> list[list[DecodedTokens]]:
    encoder_out, lens = encoded
    if not len(encoder_out):
        return []
    if not hasattr(head, "joint"):
        log_probs = head(encoder_out, lang_ids)  # (B, T, V)
        if options.strategy == "beam":
            return ctc_beam(log_probs, lens, options, nbest)
        return [[one] for one in ctc_greedy(log_probs, lens)]
    forbidden = head.forbidden(lang_ids) if hasattr(head, "forbidden") else None
    if options.strategy == "beam":
        return transducer_beam(head, encoder_out, lens, options, forbidden, nbest)
    return [[one] for one in transducer_greedy(head, encoder_out, lens, forbidden)]


class _Translated:
    """A scorer over public ids, asked in the ids of one language."""

    def __init__(self, scorer: Scorer, ids: tuple[int, ...]) -> None:
        self.scorer, self.ids = scorer, torch.tensor(ids)
        self.start = scorer.start

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.scorer.step(states, self.ids.to(tokens.device)[tokens])

    def final(self, states: Tensor) -> Tensor:
        return self.scorer.final(states)


def _in_local_ids(options: DecodingOptions, ids: tuple[int, ...]) -> DecodingOptions:
    lm, boost = (None if one is None else _Translated(one, ids) for one in (options.lm, options.boost))
    return replace(options, lm=lm, boost=boost)
