"""What turns encoder output into tokens: CTC and the transducer, with their losses and greedy decoding."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn


class Head(Protocol):
    """What every head offers; V counts the blank, which is the last id."""

    def loss(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
        lang_ids: Tensor | None = None,
    ) -> Tensor:
        """Negative log-likelihood of each utterance's tokens (B,)."""

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


def check_positive(config: Any, *fields: str) -> None:
    """Refuse a config whose `fields` are not whole numbers from 1 up."""
    for field in fields:
        if (value := getattr(config, field)) < 1:
            raise ValueError(f"`{field}` must be 1 or more, got {value}")


def check_rate(config: Any, field: str) -> None:
    """Refuse a config whose dropout-like `field` is not in [0, 1)."""
    if not 0 <= (value := getattr(config, field)) < 1:
        raise ValueError(f"`{field}` must be at least 0 and less than 1, got {value}")
