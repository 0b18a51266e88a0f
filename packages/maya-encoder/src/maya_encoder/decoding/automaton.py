"""A weighted automaton over tokens with fall-back links, as a few sorted tensors.

Both an n-gram model (fall back to the shorter history) and a set of phrases (fall back to the longest suffix
that begins a phrase, Aho and Corasick 1975) are one of these, so a beam asks both in the same few vector
steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(kw_only=True)
class AutomatonParts:
    """State 0 is the root, the empty history."""

    arcs: Mapping[tuple[int, int], tuple[int, float]]
    """(state, token) to the next state and the score of going there."""
    fallbacks: Sequence[tuple[int, float]]
    """Where each state falls back to, and what that scores; unused for the root."""
    finals: Sequence[float]
    """What the end of the text scores in each state."""
    unknown: float = 0.0
    """Score of a token for which not even the root has an arc; the next state is then the root."""
    start: int = 0
    """State before the first token."""
    num_tokens: int = field(kw_only=True)
    """Token ids are below this."""


class TokenAutomaton:
    """Deterministic: from every state every token leads on. It follows the device it is asked from."""

    def __init__(self, parts: AutomatonParts) -> None:
        self.start = parts.start
        self.num_tokens = parts.num_tokens
        self.num_states = len(parts.fallbacks)
        self.unknown = parts.unknown
        self._depth = _longest_fall(parts.fallbacks)
        flat = sorted((state * parts.num_tokens + token, *to) for (state, token), to in parts.arcs.items())
        keys, nexts, scores = zip(*flat, strict=True) if flat else ((-1,), (0,), (0.0,))
        links, costs = zip(*parts.fallbacks, strict=True)
        self._integers = torch.tensor([keys, nexts]), torch.tensor(links)
        self._scores = torch.tensor(scores), torch.tensor(costs), torch.tensor(parts.finals)

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, K) and next states (N, K) of `states` (N,) after each of `tokens` (N, K)."""
        self._follow(states.device)
        (keys, nexts), links = self._integers
        arc_scores, costs, _ = self._scores
        here = states.unsqueeze(1).expand_as(tokens)
        after, total = torch.zeros_like(here), torch.zeros(here.shape, device=here.device)
        searching = torch.ones_like(here, dtype=torch.bool)
        for _ in range(self._depth + 1):
            key = here * self.num_tokens + tokens
            place = torch.searchsorted(keys, key).clamp_(max=len(keys) - 1)
            hit = searching & (keys[place] == key)
            after = torch.where(hit, nexts[place], after)
            total += torch.where(hit, arc_scores[place], 0.0)
            searching = searching & ~hit
            if searching.device.type == "cpu" and not searching.any():
                break
            lost = searching & (here == 0)
            total += torch.where(lost, self.unknown, torch.where(searching, costs[here], 0.0))
            searching = searching & ~lost
            here = torch.where(searching, links[here], here)
        return total, after

    def final(self, states: Tensor) -> Tensor:
        """What the end of the text scores at `states` (N,)."""
        self._follow(states.device)
        return self._scores[2][states]

    def _follow(self, device: torch.device) -> None:
        if self._integers[1].device != device:
            first, links = self._integers
            self._integers = first.to(device), links.to(device)
            arcs, costs, finals = self._scores
            self._scores = arcs.to(device), costs.to(device), finals.to(device)


def _longest_fall(fallbacks: Sequence[tuple[int, float]]) -> int:
    """Most links from a state to the root."""
    depths = [0] * len(fallbacks)
    for state in range(1, len(fallbacks)):
        chain = [state]
        while chain[-1] and not depths[chain[-1]]:
            chain.append(fallbacks[chain[-1]][0])
        for known, unknown in zip(chain[:0:-1], chain[-2::-1], strict=True):
            depths[unknown] = depths[known] + 1
    return max(depths)
