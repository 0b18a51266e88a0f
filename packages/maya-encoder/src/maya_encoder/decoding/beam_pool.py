"""Transducer sequences that wait for a frame, and what remains of them when it comes."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from maya_encoder.decoding.decoded import Place
from maya_encoder.decoding.prefixes import NEVER, same


@dataclass(frozen=True)
class Beams:
    """Sequences of each utterance; each field is (B, K) or (B, K, ...)."""

    mass: Tensor
    """Log-sum over the alignments so far."""
    fused: Tensor
    """What the scorers gave."""
    hashes: Tensor
    nodes: Tensor
    """Where the last token was noted; -1 for none."""
    label_part: Tensor
    """(B, K, J)."""
    history: Tensor
    """State of the prediction network (B, K, ...)."""
    states: Tensor
    """Of the scorers (B, K, scorers)."""

    @property
    def total(self) -> Tensor:
        """What sequences are ranked by."""
        return self.mass + self.fused

    def at(self, places: Tensor) -> "Beams":
        """Those at `places` (B, N)."""
        return Beams(**{name: at_places(value, places) for name, value in vars(self).items()})

    def where(self, mask: Tensor, other: "Beams") -> "Beams":
        """These in the utterances of `mask` (B,), `other` elsewhere."""
        pairs = {name: (value, getattr(other, name)) for name, value in vars(self).items()}
        return Beams(
            **{
                name: torch.where(mask.view(-1, *[1] * (mine.dim() - 1)), mine, theirs)
                for name, (mine, theirs) in pairs.items()
            }
        )


def at_places(values: Tensor, places: Tensor) -> Tensor:
    """Items (B, N, ...) of `values` (B, K, ...) at `places` (B, N)."""
    return values[torch.arange(len(places), device=places.device).unsqueeze(1), places]


class Pool:
    """Beams by the frame they wait for."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[Beams]] = {}

    def put(self, frame: int, beams: Beams) -> None:
        """Let `beams` wait for `frame`."""
        self._waiting.setdefault(frame, []).append(beams)

    def take(self, frame: int, beam_size: int) -> Beams | None:
        """The best that wait for `frame`, equal sequences joined; None where there are none at all."""
        if (waiting := self._waiting.pop(frame, None)) is None:
            return None
        columns = {
            f.name: torch.cat([getattr(beams, f.name) for beams in waiting], dim=1) for f in fields(Beams)
        }
        joined = _joined(Beams(**columns))
        places = joined.total.topk(min(beam_size, joined.total.size(1))).indices
        return joined.at(places)


def _joined(beams: Beams) -> Beams:
    """One of each sequence, the one with the greatest mass, with the sum of the masses; the others never."""
    order = beams.mass.argsort(dim=1, descending=True, stable=True)
    mass, hashes = beams.mass.gather(1, order), beams.hashes.gather(1, order)
    alive = mass > NEVER
    equal = same(hashes, hashes, alive, alive)  # (B, N, N)
    summed = torch.where(equal, mass.unsqueeze(1), NEVER).logsumexp(dim=2)
    again = equal.tril(diagonal=-1).any(dim=2)
    joined = torch.where(again | ~alive, NEVER, summed)
    return replace(beams, mass=torch.full_like(mass, NEVER).scatter(1, order, joined))


class Notes:
    """Which label was written where, with links to the one before."""

    def __init__(self) -> None:
        self._steps: list[list[Tensor]] = []
        self._frames: list[int] = []
        self._count = 0

    def add(self, frame: int, columns: list[Tensor]) -> Tensor:
        """Note labels (B, N) written at `frame`; returns the notes (B, N).

        Args:
            frame: where they were written.
            columns: earlier notes, or -1; labels; frames that they last; their log-probabilities.
        """
        self._steps.append(columns)
        width = columns[0].size(1)
        self._frames += [frame] * width
        self._count += width
        return torch.arange(self._count - width, self._count, device=columns[0].device).expand_as(columns[0])

    def read(self, nodes: Tensor) -> list[list[list[Place]]]:
        """What leads to the notes `nodes` (B, K), K lists an utterance."""
        if not self._steps:
            return [[[] for _ in row] for row in nodes]
        columns = [torch.cat(column, dim=1).cpu().numpy() for column in zip(*self._steps, strict=True)]
        rows = zip(*columns, nodes.tolist(), strict=True)
        return [[self._trace(node, *columns_of_row) for node in ends] for *columns_of_row, ends in rows]

    def _trace(self, node: int, parents: Any, tokens: Any, moves: Any, log_probs: Any) -> list[Place]:
        found: list[Place] = []
        while node >= 0:
            frame = self._frames[node]
            found.append((int(tokens[node]), frame, frame + int(moves[node]), float(log_probs[node])))
            node = int(parents[node])
        return found[::-1]
