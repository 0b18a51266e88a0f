"""What scores token sequences besides the acoustic model: a protocol, and the sum of several."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Scorer(Protocol):
    """An n-gram model or a list of phrases as an automaton: its states are whole numbers."""

    @property
    def start(self) -> int:
        """The state before the first token."""

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, K), natural logarithms, and next states (N, K) of states (N,) after `tokens` (N, K)."""

    def final(self, states: Tensor) -> Tensor:
        """What is added when the text ends at `states` (N,)."""


class Fusion:
    """The weighted sum of scorers; its states have one column a scorer.

    Args:
        scorers: each with its weight.
        token_bonus: added for each token.
    """

    def __init__(self, scorers: Sequence[tuple[Scorer, float]] = (), token_bonus: float = 0.0) -> None:
        self.scorers = tuple(scorers)
        self.token_bonus = token_bonus

    def start(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """States (*shape, scorers) before the first token."""
        starts = torch.tensor([scorer.start for scorer, _ in self.scorers], dtype=torch.int64, device=device)
        return starts.expand(*shape, len(self.scorers)).clone()

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (..., K) and states (..., K, scorers) after `tokens` (..., K) at states (..., scorers)."""
        flat, ahead = states.flatten(0, -2), tokens.flatten(0, -2)  # (N, scorers), (N, K)
        total = torch.full(ahead.shape, self.token_bonus, device=tokens.device)
        columns = []
        for column, (scorer, weight) in enumerate(self.scorers):
            scores, after = scorer.step(flat[:, column], ahead)
            total += weight * scores
            columns.append(after)
        after = torch.stack(columns, dim=-1) if columns else ahead.new_empty(*ahead.shape, 0)
        return total.view(tokens.shape), after.view(*tokens.shape, len(columns))

    def final(self, states: Tensor) -> Tensor:
        """What the end of the text adds (...) at `states` (..., scorers)."""
        flat = states.flatten(0, -2)
        total = torch.zeros(len(flat), device=states.device)
        for column, (scorer, weight) in enumerate(self.scorers):
            total += weight * scorer.final(flat[:, column])
        return total.view(states.shape[:-1])

    def totals(self, texts: Sequence[Sequence[int]], device: torch.device) -> list[float]:
        """The scores of whole texts."""
        if not self.scorers:
            return [self.token_bonus * len(tokens) for tokens in texts]
        lens = torch.tensor([len(tokens) for tokens in texts], device=device)
        padded = torch.zeros(len(texts), max(map(len, texts), default=0), dtype=torch.int64)
        for row, tokens in zip(padded, texts, strict=True):
            row[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        states, total = self.start((len(texts),), device), torch.zeros(len(texts), device=device)
        for u, token in enumerate(padded.to(device).T):
            scores, after = self.step(states, token.unsqueeze(1))
            total += scores[:, 0].masked_fill(u >= lens, 0.0)
            states = torch.where((u < lens).unsqueeze(1), after[:, 0], states)
        found: list[float] = (total + self.final(states)).tolist()
        return found
