"""From log-probabilities of lattice cells to the loss of each utterance and the shares of the alignments."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from maya_encoder.heads.lattice import Arcs, PathSums

if TYPE_CHECKING:
    from maya_encoder.heads.transducer_loss import TransducerSettings


class CellScores(NamedTuple):
    """Log-probabilities of every cell; -inf outside an utterance's own cells."""

    blank: Tensor
    """(B, T, U+1)."""
    label: Tensor
    """(B, T, U+1), of the next token; -inf at the last position."""
    durations: Tensor
    """(N, B, T, U+1); N = 0 for RNNT."""


class CellShares(NamedTuple):
    """Share of the alignments that take the blank, the label and each duration of a cell.

    The negative derivatives of the loss by the scores, and shaped like them; empty where not asked for.
    """

    blank: Tensor
    label: Tensor
    durations: Tensor


def path_shares(
    scores: CellScores, settings: "TransducerSettings", path_sums: Callable[[Arcs], PathSums]
) -> tuple[Tensor, CellShares]:
    """Negative log-likelihood (B,) and the shares."""
    if not settings.durations:
        nll, shares = _rnnt(scores, path_sums)
    else:
        nll, shares = _tdt(scores, settings, path_sums)
        if settings.omega:
            plain_nll, plain_shares = _rnnt(scores, path_sums)
            nll = torch.lerp(nll, plain_nll, settings.omega)
            shares = CellShares(
                *(_mix(*pair, settings.omega) for pair in zip(shares, plain_shares, strict=True))
            )
    if settings.fastemit_lambda:
        shares = shares._replace(label=shares.label * (1 + settings.fastemit_lambda))
    return nll, shares


def _rnnt(scores: CellScores, path_sums: Callable[[Arcs], PathSums]) -> tuple[Tensor, CellShares]:
    found = path_sums(Arcs(scores.blank[None], scores.label[None]))
    return found.nll, CellShares(found.stay.squeeze(0), found.move.squeeze(0), found.stay.new_empty(0))


def _tdt(
    scores: CellScores, settings: "TransducerSettings", path_sums: Callable[[Arcs], PathSums]
) -> tuple[Tensor, CellShares]:
    """A blank or a label takes each duration with that duration's probability; a blank takes none of 0."""
    lasting = [place for place, frames in enumerate(settings.durations) if frames]
    arcs = Arcs(
        scores.blank - settings.sigma + scores.durations[lasting],
        scores.label - settings.sigma + scores.durations,
        tuple(settings.durations[place] for place in lasting),
        settings.durations,
    )
    nll, stay, move = path_sums(arcs)
    if not stay.numel():
        return nll, CellShares(stay, move, move)
    durations = move.clone()
    durations[lasting] += stay
    return nll, CellShares(stay.sum(0), move.sum(0), durations)


def _mix(shares: Tensor, plain: Tensor, omega: float) -> Tensor:
    shares = shares * (1 - omega)
    return shares.add_(plain, alpha=omega) if plain.numel() else shares
