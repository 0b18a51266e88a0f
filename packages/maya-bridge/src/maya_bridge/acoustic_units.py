"""States of the acoustic model's units, for projectors that inject them: which head, how wide, which text."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from maya_bridge.projectors import ProjectorConfig, UnitStates
from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.prefix_states import unit_states

DEFAULT_SOURCE = "rnnt"


def state_dim(acoustic: AcousticModel, config: ProjectorConfig) -> int | None:
    """Return the width of the states that a projector may ask for, None where no head has them."""
    head = _head(acoustic, getattr(config, "source", DEFAULT_SOURCE))
    if head is None:
        return None
    if hasattr(head, "joint"):
        return int(head.joint.enc.out_features)
    return 2 * int(acoustic.encoder.hidden_size)


def acoustic_units(
    acoustic: AcousticModel,
    config: ProjectorConfig,
    encoded: tuple[Tensor, Tensor],
    langs: Sequence[str] | None,
    texts: Sequence[str] | None = None,
) -> UnitStates:
    """Return the unit states of a batch.

    Args:
        acoustic: with the head that the projector names as its `source`.
        config: of the projector.
        encoded: encoder output (B, T, D), in any number format, and lengths (B,).
        langs: language of each utterance.
        texts: what to follow; None for the head's own greedy hypothesis.
    """
    source = getattr(config, "source", DEFAULT_SOURCE)
    encoder_out, lens = encoded
    encoder_out = encoder_out.to(next(acoustic.heads.parameters()).dtype)
    tokens = None
    if texts is not None:
        of_each = [None] * len(texts) if langs is None else langs
        tokens = [acoustic.tokenizer.encode(text, lang) for text, lang in zip(texts, of_each, strict=True)]
        if source == "ctc":
            tokens = [_fitting(row, frames) for row, frames in zip(tokens, lens.tolist(), strict=True)]
    known = langs if getattr(acoustic, "langs", ()) else None
    return unit_states(acoustic, encoder_out, lens, source, tokens, langs=known)


def _head(acoustic: AcousticModel, source: str) -> Any:
    heads = dict(acoustic.heads.items())
    if source in heads or source != DEFAULT_SOURCE:
        return heads.get(source)
    return next((head for head in heads.values() if hasattr(head, "joint")), None)


def _fitting(tokens: list[int], frames: int) -> list[int]:
    """As many of the tokens as fit into the frames, where a token that is repeated needs a blank between.

    Training goes on over a text that is too long for its audio; states there are none of the rest.
    """
    need = 0
    for place, token in enumerate(tokens):
        need += 2 if place and token == tokens[place - 1] else 1
        if need > frames:
            return tokens[:place]
    return tokens
