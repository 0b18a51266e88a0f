"""What the acoustic model thinks before each unit of its hypothesis: what a SALSA projector injects.

The idea is that of SALSA (Mittal et al. 2024), which taps the decoder of a sequence-to-sequence recogniser.
Here a transducer's joint network, or the CTC head with its alignment, stands in for that decoder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maya_encoder.decoding.decoded import DecodedTokens
from maya_encoder.decoding.dispatch import decode, views_of
from maya_encoder.decoding.text_ends import text_and_ends
from maya_encoder.decoding.transducer_viterbi import transducer_viterbi
from maya_encoder.decoding.viterbi import ctc_viterbi

if TYPE_CHECKING:
    from maya_encoder.acoustic_model import AcousticModel

Tokens = Sequence[Sequence[int]] | Tensor


@dataclass(frozen=True)
class UnitStates:
    """One state for each prefix of the units (tokens) of an utterance."""

    states: Tensor
    """(B, U+1, Z): before the first unit, .., after the last; padding is zero."""
    unit_lens: Tensor
    """Units of each utterance (B,)."""
    char_ends: Tensor
    """Characters of the utterance's text that are there after each unit (B, U); padding is zero."""


def unit_states(
    model: "AcousticModel",
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    source: str = "rnnt",
    tokens: Tokens | None = None,
    token_lens: Tensor | None = None,
    langs: Sequence[str] | None = None,
) -> UnitStates:
    """The state before each unit, at the frame where the unit is written; gradients flow to `encoder_out`.

    With a transducer a state is the joint network's hidden layer, of the prefix and of the frame at which the
    next unit is written (Z is the joint width); behind the last unit, of the last frame. With CTC it is the
    mean of the frames of the next unit, and the CTC head's weights of the unit before (Z is twice the encoder
    width): never those of the next unit, which would give the answer away. Behind the last unit the frames
    are all those after it.

    Args:
        model: has the head.
        encoder_out: encoder output (B, T, D), after the prompt where there is one; T is 1 or more.
        encoder_out_lens: valid frames (B,).
        source: which head: `ctc`, or a transducer's name; where there is no `rnnt`, that stands for the
            transducer that is there, such as `tdt`.
        tokens: units to follow (teacher forcing): lists, or (B, U); None for the head's own greedy
            hypothesis.
        token_lens: valid units of a tensor (B,); None for all.
        langs: language of each utterance, where head or tokenizer need it.

    Raises:
        ValueError: no such head, or a text that the CTC head cannot fit into its frames.
    """
    head = _head_of(model, source)
    encoded, lang_ids = (encoder_out, encoder_out_lens), model.optional_lang_ids(langs)
    units = None if tokens is None else _lists(tokens, token_lens)
    placed = decode(head, *encoded, lang_ids) if units is None else _followed(head, encoded, units, lang_ids)
    of_head = _joint_states if hasattr(head, "joint") else _span_states
    states = of_head(head, encoded, placed, lang_ids)
    unit_lens = torch.tensor([len(one.tokens) for one in placed], device=encoder_out.device)
    valid = torch.arange(states.size(1), device=encoder_out.device) <= unit_lens.unsqueeze(1)
    return UnitStates(states * valid.unsqueeze(2), unit_lens, _char_ends(model, placed, langs).to(unit_lens))


def _char_ends(
    model: "AcousticModel", placed: Sequence[DecodedTokens], langs: Sequence[str] | None
) -> Tensor:
    of_each = [None] * len(placed) if langs is None else langs
    pairs = zip(placed, of_each, strict=True)
    ends = [text_and_ends(one.tokens, model.tokenizer, lang)[1] for one, lang in pairs]
    return _padded(ends, torch.device("cpu"))


def _head_of(model: "AcousticModel", source: str) -> Any:
    transducers = [name for name, head in model.heads.items() if hasattr(head, "joint")]
    if source == "rnnt" and source not in model.heads and transducers:
        source = transducers[0]
    if source not in model.heads:
        raise ValueError(f"`source` must be a head of this model ({', '.join(model.heads)}), got {source!r}")
    return model.heads[source]


def _followed(
    head: Any, encoded: tuple[Tensor, Tensor], units: list[list[int]], lang_ids: Tensor | None
) -> list[DecodedTokens]:
    """Given units with the frames at which the best path writes them."""
    encoder_out, lens = encoded
    if not hasattr(head, "joint"):
        return ctc_viterbi(head(encoder_out, lang_ids), lens, units)
    local, unit_lens = (
        _padded(_local(head, units, lang_ids), lens.device),
        torch.tensor(list(map(len, units))),
    )
    unit_lens = unit_lens.to(lens.device)
    frames = torch.zeros_like(local)
    for view, rows in _parts(head, lang_ids, len(units)):
        forbidden = head.forbidden(lang_ids) if hasattr(head, "forbidden") and view is head else None
        frames[rows] = transducer_viterbi(
            view, encoder_out[rows], lens[rows], local[rows], unit_lens[rows], forbidden
        )
    pairs = zip(units, frames.tolist(), strict=True)
    return [DecodedTokens(tokens=row, frames=where[: len(row)]) for row, where in pairs]


def _joint_states(
    head: Any, encoded: tuple[Tensor, Tensor], placed: list[DecodedTokens], lang_ids: Tensor | None
) -> Tensor:
    """Hidden layer of the joint network (B, U+1, J) where each unit is written, and at the last frame."""
    encoder_out, lens = encoded
    local = _padded(_local(head, [one.tokens for one in placed], lang_ids), lens.device)
    ends = zip(placed, lens.tolist(), strict=True)
    frames = _padded([[*one.frames, max(0, end - 1)] for one, end in ends], lens.device)  # (B, U+1)
    rows = torch.arange(len(lens), device=lens.device).unsqueeze(1)
    encoder_part = head.joint.enc(encoder_out[rows, frames])
    states: Tensor = head.joint.joint_net[0](encoder_part + head.joint.pred(head.prediction(local)))
    return states


def _span_states(
    head: Any, encoded: tuple[Tensor, Tensor], placed: list[DecodedTokens], lang_ids: Tensor | None
) -> Tensor:
    """Mean of the frames of the next unit and CTC weights of the one before (B, U+1, 2 D)."""
    encoder_out, lens = encoded
    spans = [_spans(one, end) for one, end in zip(placed, lens.tolist(), strict=True)]
    starts = _padded([[start for start, _ in row] for row in spans], lens.device)
    ends = _padded([[end for _, end in row] for row in spans], lens.device)
    sums = F.pad(encoder_out.float().cumsum(dim=1), (0, 0, 1, 0))  # (B, T+1, D)
    rows = torch.arange(len(lens), device=lens.device).unsqueeze(1)
    means = (sums[rows, ends] - sums[rows, starts]) / (ends - starts).clamp(min=1).unsqueeze(2)
    weight = head.decoder_layers[0].weight.squeeze(-1)  # (V, D)
    before = _padded([[head.blank_id, *one.tokens] for one in placed], lens.device)
    return torch.cat([means.to(encoder_out.dtype), weight[before].to(encoder_out.dtype)], dim=2)


def _spans(placed: DecodedTokens, num_frames: int) -> list[tuple[int, int]]:
    """Frames of each unit, and those behind the last: one at least."""
    begin = min(placed.end_frames[-1] if placed.tokens else 0, max(0, num_frames - 1))
    return [*zip(placed.frames, placed.end_frames, strict=True), (begin, num_frames)]


def _parts(head: Any, lang_ids: Tensor | None, batch: int) -> Iterable[tuple[Any, Tensor]]:
    if getattr(head, "lang_outputs", False):
        return views_of(head, lang_ids)
    return [(head, torch.arange(batch))]


def _local(head: Any, units: list[list[int]], lang_ids: Tensor | None) -> list[list[int]]:
    """Units in the ids of the prediction network: those of the language where each has an output layer."""
    if not getattr(head, "lang_outputs", False):
        return units
    local = list(units)
    for view, rows in views_of(head, lang_ids):
        places = {token: place for place, token in enumerate(view.ids)}
        for row in rows.tolist():
            local[row] = [places[token] for token in units[row]]
    return local


def _lists(tokens: Tokens, token_lens: Tensor | None) -> list[list[int]]:
    if not isinstance(tokens, Tensor):
        return [list(row) for row in tokens]
    lens = [tokens.size(1)] * len(tokens) if token_lens is None else token_lens.tolist()
    return [row[:count] for row, count in zip(tokens.tolist(), lens, strict=True)]


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Lists as one tensor (B, longest), zero in the padding."""
    padded = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded.to(device)
