"""CTC prefix beam search (Hannun et al. 2014), all utterances and prefixes of a batch at once.

A prefix has two masses: of the alignments that end in a blank, and of those that end in its last token.
Scorers judge the prefix, never an alignment, so they join only where prefixes are ranked.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maya_encoder.decoding.ctc_greedy import ctc_greedy
from maya_encoder.decoding.decoded import DecodedTokens
from maya_encoder.decoding.fusion import Fusion
from maya_encoder.decoding.options import DecodingOptions
from maya_encoder.decoding.prefixes import EMPTY, NEVER, Links, hash_with, same
from maya_encoder.decoding.viterbi import ctc_viterbi


@dataclass(frozen=True)
class _Prefixes:
    """Prefixes of each utterance, each field (B, K) but for the scorers' states (B, K, scorers)."""

    in_blank: Tensor
    """Log-mass of the alignments that end in a blank."""
    in_token: Tensor
    """Log-mass of those that end in the last token."""
    last: Tensor
    """Last token; the blank for the empty prefix."""
    hashes: Tensor
    parent_hashes: Tensor
    fused: Tensor
    """What the scorers gave."""
    states: Tensor

    @property
    def mass(self) -> Tensor:
        return torch.logaddexp(self.in_blank, self.in_token)

    def where(self, mask: Tensor, other: "_Prefixes") -> "_Prefixes":
        """These in the utterances of `mask` (B,), `other` elsewhere."""
        return _Prefixes(
            **{
                name: torch.where(mask.view(-1, *[1] * (mine.dim() - 1)), mine, getattr(other, name))
                for name, mine in vars(self).items()
            }
        )


@torch.no_grad()
def ctc_beam(
    log_probs: Tensor, lens: Tensor, options: DecodingOptions, nbest: int = 1
) -> list[list[DecodedTokens]]:
    """The `nbest` best token sequences of each utterance, best first; fewer where fewer are possible.

    The score is the log-sum over the alignments that the beam kept, plus what the scorers gave. Frames and
    log-probabilities of the tokens are those of the best alignment. The greedy sequence is a candidate too,
    so the best score is never below that of `ctc_greedy`.

    Args:
        log_probs: (B, T, V), normalised; the blank is the last id.
        lens: valid frames (B,).
        options: beam size, candidates and scorers.
        nbest: sequences an utterance, at most the beam size.
    """
    fusion = options.fusion
    prefixes, links = _start(log_probs, options.beam_size, fusion), Links()
    for t in range(int(lens.max()) if len(lens) else 0):
        after, parents, tokens = _step(prefixes, log_probs[:, t].float(), options.candidates, fusion)
        active = t < lens
        links.add(
            torch.where(active.unsqueeze(1), parents, torch.arange(options.beam_size, device=lens.device)),
            tokens.masked_fill(~active.unsqueeze(1), -1),
        )
        prefixes = after.where(active, prefixes)
    totals, places = (prefixes.mass + prefixes.fused + fusion.final(prefixes.states)).sort(descending=True)
    greedy = _scored_greedy(log_probs, lens, fusion)
    rows = zip(links.read(places), totals.tolist(), greedy, strict=True)
    chosen = [_with_greedy(dict(_alive(*row)), first)[:nbest] for *row, first in rows]
    return _aligned(log_probs, lens, chosen)


Scored = tuple[tuple[int, ...], float]


def _start(log_probs: Tensor, beam_size: int, fusion: Fusion) -> _Prefixes:
    batch, _, vocab_size = log_probs.shape
    shape, device = (batch, beam_size), log_probs.device
    never = torch.full(shape, NEVER, device=device)
    in_blank = never.clone()
    in_blank[:, 0] = 0
    return _Prefixes(
        in_blank=in_blank,
        in_token=never,
        last=torch.full(shape, vocab_size - 1, device=device),
        hashes=torch.full(shape, EMPTY, device=device),
        parent_hashes=torch.zeros(shape, dtype=torch.int64, device=device),
        fused=torch.zeros(shape, device=device),
        states=fusion.start(shape, device),
    )


def _step(
    prefixes: _Prefixes, log_probs: Tensor, candidates: int, fusion: Fusion
) -> tuple[_Prefixes, Tensor, Tensor]:
    """The best prefixes after a frame (B, V), with the place of their parent and their new token or -1."""
    beam_size = prefixes.last.size(1)
    tokens = log_probs[:, :-1].topk(min(candidates, log_probs.size(1) - 1), sorted=False).indices  # (B, C)
    stayed = _stay(prefixes, log_probs)
    mass = _extended_mass(prefixes, log_probs, tokens)  # (B, K, C)
    ahead = tokens.unsqueeze(1).expand_as(mass)
    gained, states = fusion.step(prefixes.states, ahead)
    fused = prefixes.fused.unsqueeze(2) + gained
    total = torch.cat([stayed.mass + stayed.fused, (mass + fused).flatten(1)], dim=1)
    chosen = total.topk(beam_size).indices  # (B, K)
    is_new = chosen >= beam_size
    way = (chosen - beam_size).clamp(min=0)
    parents = torch.where(is_new, way // tokens.size(1), chosen.clamp(max=beam_size - 1))
    grown = _Prefixes(
        in_blank=torch.full_like(stayed.in_blank, NEVER),
        in_token=mass.flatten(1).gather(1, way),
        last=ahead.flatten(1).gather(1, way),
        hashes=hash_with(prefixes.hashes.unsqueeze(2), ahead).flatten(1).gather(1, way),
        parent_hashes=prefixes.hashes.gather(1, parents),
        fused=fused.flatten(1).gather(1, way),
        states=_gather(states.flatten(1, 2), way),
    )
    kept = replace(stayed, **{name: _gather(value, parents) for name, value in vars(stayed).items()})
    found = {name: _choose(is_new, getattr(grown, name), value) for name, value in vars(kept).items()}
    return _Prefixes(**found), parents, torch.where(is_new, grown.last, -1)


def _stay(prefixes: _Prefixes, log_probs: Tensor) -> _Prefixes:
    """The same prefixes a frame later: a blank, the last token again, or the last token after the parent."""
    alive = prefixes.mass > NEVER
    is_child = same(prefixes.hashes, prefixes.parent_hashes, alive, alive)  # (B, parent, child)
    here = log_probs.gather(1, prefixes.last)  # (B, K)
    repeats = prefixes.last.unsqueeze(2) == prefixes.last.unsqueeze(1)
    from_parent = torch.where(repeats, prefixes.in_blank.unsqueeze(2), prefixes.mass.unsqueeze(2))
    joined = from_parent.masked_fill(~is_child, NEVER).amax(dim=1)  # one parent at most
    return replace(
        prefixes,
        in_blank=prefixes.mass + log_probs[:, -1:],
        in_token=torch.logaddexp(prefixes.in_token, joined) + here,
    )


def _extended_mass(prefixes: _Prefixes, log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Log-mass of each prefix with each token (B, K, C); -inf where the result is in the beam already."""
    repeats = prefixes.last.unsqueeze(2) == tokens.unsqueeze(1)
    before = torch.where(repeats, prefixes.in_blank.unsqueeze(2), prefixes.mass.unsqueeze(2))
    alive = prefixes.mass > NEVER
    is_child = same(prefixes.hashes, prefixes.parent_hashes, alive, alive).to(log_probs.dtype)  # (B, K, K)
    writes = (prefixes.last.unsqueeze(2) == tokens.unsqueeze(1)).to(log_probs.dtype)  # (B, child, C)
    there = (is_child @ writes) > 0
    return (before + log_probs.gather(1, tokens).unsqueeze(1)).masked_fill(there, NEVER)


def _gather(values: Tensor, places: Tensor) -> Tensor:
    """Items (B, K, ...) of `values` (B, N, ...) at `places` (B, K)."""
    return values[torch.arange(len(places), device=places.device).unsqueeze(1), places]


def _choose(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.view(*mask.shape, *[1] * (new.dim() - 2)), new, old)


def _scored_greedy(log_probs: Tensor, lens: Tensor, fusion: Fusion) -> list[Scored]:
    found = ctc_greedy(log_probs, lens)
    fused = fusion.totals([one.tokens for one in found], log_probs.device)
    return [(tuple(one.tokens), one.score + gain) for one, gain in zip(found, fused, strict=True)]


def _alive(sequences: list[list[int]], totals: list[float]) -> list[Scored]:
    pairs = zip(sequences, totals, strict=True)
    return [(tuple(tokens), total) for tokens, total in pairs if total > NEVER]


def _with_greedy(scored: dict[tuple[int, ...], float], greedy: Scored) -> list[Scored]:
    tokens, total = greedy
    scored[tokens] = max(total, scored.get(tokens, NEVER))
    return sorted(scored.items(), key=lambda item: -item[1])


def _aligned(log_probs: Tensor, lens: Tensor, chosen: list[list[Scored]]) -> list[list[DecodedTokens]]:
    rows = [row for row, scored in enumerate(chosen) for _ in scored]
    flat = [one for scored in chosen for one in scored]
    if rows != list(range(len(chosen))):
        index = torch.tensor(rows, dtype=torch.int64, device=log_probs.device)
        log_probs, lens = log_probs[index], lens[index]
    found = iter(ctc_viterbi(log_probs, lens, [tokens for tokens, _ in flat]))
    return [[replace(next(found), score=total) for _, total in scored] for scored in chosen]
