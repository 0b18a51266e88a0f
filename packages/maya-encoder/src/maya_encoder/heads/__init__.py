"""What turns encoder output into tokens: CTC and the transducers, with their losses and greedy decoding."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from torch import Tensor, nn

Reduction = Literal["none", "mean_batch", "mean_volume", "sum"]


class Head(Protocol):
    """What every head offers; V counts the blank, which is the last id."""

    blank_id: int

    def loss(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
        lang_ids: Tensor | None = None,
        reduction: Reduction = "none",
    ) -> Tensor:
        """Negative log-likelihood of the tokens: of each utterance (B,), or reduced."""

    def decode(
        self, encoder_out: Tensor, encoder_out_lens: Tensor, lang_ids: Tensor | None = None
    ) -> list[list[int]]:
        """The tokens of each utterance, best guess at every step."""


class HeadConfig(Protocol):
    """A plugin of the kind `heads`."""

    name: str

    def build(
        self, in_dim: int, vocab_size: int, lang_vocab: Mapping[str, Sequence[int]] | None = None
    ) -> nn.Module:
        """A module that is a `Head`, for encoder output of width `in_dim` and `vocab_size` ids with blank."""


def reduce_loss(nll: Tensor, token_lens: Tensor, reduction: Reduction) -> Tensor:
    """One number of the losses (B,) of a batch, as `reduction` says.

    Args:
        nll: loss of each utterance (B,).
        token_lens: tokens of each utterance (B,).
        reduction: `none` leaves them; `sum` adds them; `mean_batch` is their mean; `mean_volume` is their sum
            by the number of tokens.

    Raises:
        ValueError: for another reduction.
    """
    if reduction == "none":
        return nll
    if reduction == "sum":
        return nll.sum()
    if reduction == "mean_batch":
        return nll.mean()
    if reduction == "mean_volume":
        return nll.sum() / token_lens.sum().clamp(min=1)
    raise ValueError(f"`reduction` must be none, mean_batch, mean_volume or sum, got {reduction!r}")


def check_positive(config: Any, *fields: str) -> None:
    """Refuse a config whose `fields` are not whole numbers from 1 up."""
    for field in fields:
        if (value := getattr(config, field)) < 1:
            raise ValueError(f"`{field}` must be 1 or more, got {value}")


def check_rate(config: Any, field: str) -> None:
    """Refuse a config whose dropout-like `field` is not in [0, 1)."""
    if not 0 <= (value := getattr(config, field)) < 1:
        raise ValueError(f"`{field}` must be at least 0 and less than 1, got {value}")
