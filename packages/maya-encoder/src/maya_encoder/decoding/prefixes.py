"""Token sequences of a beam without the sequences: hashes to compare them, links to read them back."""

import torch
from torch import Tensor

EMPTY = 0x1F2E3D4C5B6A7988  # hash of the empty sequence
NEVER = float("-inf")

_ODD = 0x9E3779B97F4A7C15 - 2**64  # the golden ratio as a signed 64-bit odd number


def hash_with(hashes: Tensor, tokens: Tensor) -> Tensor:
    """Hashes of sequences with one more token; only by chance are two the same, and 64 bits make it rare."""
    mixed = (hashes ^ (tokens + 1)) * _ODD
    return mixed ^ (mixed >> 29)


def same(first: Tensor, second: Tensor, first_alive: Tensor, second_alive: Tensor) -> Tensor:
    """Whether sequences (B, N) and (B, M) are equal, (B, N, M); dead ones equal nothing."""
    equal = first.unsqueeze(2) == second.unsqueeze(1)
    return equal & first_alive.unsqueeze(2) & second_alive.unsqueeze(1)


class Links:
    """For each step and row, which sequence went on with which token; -1 for none."""

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, Tensor]] = []

    def add(self, parents: Tensor, tokens: Tensor) -> None:
        """Sequences (B, K) at the next step: that of `parents` at the last one, and maybe a token."""
        self._steps.append((parents, tokens))

    def read(self, places: Tensor) -> list[list[list[int]]]:
        """The sequences that end at `places` (B, N), N lists of tokens an utterance."""
        columns = []
        for parents, tokens in reversed(self._steps):
            columns.append(tokens.gather(1, places))
            places = parents.gather(1, places)
        if not columns:
            return [[[] for _ in row] for row in places]
        rows = torch.stack(columns[::-1], dim=-1).tolist()  # (B, N, steps)
        return [[[token for token in one if token >= 0] for one in row] for row in rows]
