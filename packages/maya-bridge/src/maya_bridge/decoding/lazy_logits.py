"""Logits that are made only as far as somebody looks at them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maya_bridge.decoding.few_rows import few_rows


class LazyLogits:
    """The logits (B, K, V) of one pass, a few positions at a time: most of a small LLM's work is there."""

    def __init__(self, hidden: Tensor, head: Callable[[Tensor], Tensor]):
        self._hidden, self._head = hidden, head
        self.num_positions = hidden.shape[1]

    @torch.no_grad()
    def part(self, rows: Sequence[int], start: int, end: int) -> Tensor:
        """Return those of some rows and positions (R, end - start, V), in float32."""
        chosen = self._hidden[:, start:end]
        chosen = chosen if len(rows) == len(chosen) else chosen[list(rows)]
        with few_rows(chosen.shape[0] * chosen.shape[1]):
            return self._head(chosen).float()
