"""Transducer beam search by modified adaptive expansion (after Kim, Lee and Kim 2020), RNNT and TDT.

Frame by frame, each sequence of the beam may write a few labels and then a blank; sequences that end equal
are joined, their masses added. What it leaves out of the exact sum over alignments: more than
`expansion_steps` labels at one frame, labels far less likely than the sequence's best choice
(`expansion_gamma`), all but the best `candidates`, and all but `beam_size` sequences in each step. With these
four out of the way the sum is exact. A TDT's sequences wait for the frame they have jumped to and are
compared with those that wait there too.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from maya_encoder.decoding.arcs import Arcs, arcs_where
from maya_encoder.decoding.beam_pool import Beams, Notes, Pool, at_places
from maya_encoder.decoding.decoded import DecodedTokens, Place
from maya_encoder.decoding.options import DecodingOptions
from maya_encoder.decoding.prefixes import EMPTY, NEVER, hash_with
from maya_encoder.decoding.protocols import Transducer
from maya_encoder.decoding.transducer_greedy import transducer_greedy


@torch.no_grad()
def transducer_beam(
    head: Transducer,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    options: DecodingOptions,
    forbidden: Tensor | None = None,
    nbest: int = 1,
) -> list[list[DecodedTokens]]:
    """The `nbest` best token sequences of each utterance, best first; fewer where fewer were found.

    The score is the log-sum over the alignments that the beam kept, plus what the scorers gave. The greedy
    sequence is a candidate too, so the best score is never below that of `transducer_greedy`.

    Args:
        head: RNNT or TDT.
        encoder_out: encoder output (B, T, D).
        encoder_out_lens: valid frames (B,).
        options: beam size, expansion and scorers.
        forbidden: what to add to the token logits of each utterance (B, V), or None.
        nbest: sequences an utterance, at most the beam size.
    """
    search = _Search(head, encoder_out, encoder_out_lens, options, forbidden)
    final = search.run()
    totals = final.total + options.fusion.final(final.states)
    greedy = transducer_greedy(head, encoder_out, encoder_out_lens, forbidden)
    fused = options.fusion.totals([one.tokens for one in greedy], encoder_out.device)
    scored = [replace(one, score=one.score + gain) for one, gain in zip(greedy, fused, strict=True)]
    rows = zip(search.notes.read(final.nodes), totals.tolist(), scored, strict=True)
    return [_best(places, scores, first)[:nbest] for places, scores, first in rows]


class _Search:
    """One search over a batch; K sequences an utterance, a few more within a frame."""

    def __init__(
        self,
        head: Transducer,
        encoder_out: Tensor,
        lens: Tensor,
        options: DecodingOptions,
        forbidden: Tensor | None,
    ) -> None:
        self.head, self.lens, self.options, self.fusion = head, lens, options, options.fusion
        self.encoder_part = head.joint.enc(encoder_out)  # (B, T, J)
        self.forbidden = None if forbidden is None else forbidden.unsqueeze(1)
        self.pool, self.notes = Pool(), Notes()
        longest = max(head.durations, default=1)
        self.blank_moves = range(1, max(1, longest) + 1)
        self.label_moves = self.blank_moves if head.durations else range(0)

    def run(self) -> Beams:
        """The beams at the end of each utterance."""
        final = self._start()
        self.pool.put(0, final)
        for frame in range(int(self.lens.max()) + 1):
            if (here := self.pool.take(frame, self.options.beam_size)) is not None:
                final = here.where(self.lens == frame, final)
                going_on = (self.lens > frame).unsqueeze(1)
                if frame < self.encoder_part.size(1):
                    self._pass(frame, replace(here, mass=here.mass.masked_fill(~going_on, NEVER)))
        return final

    def _start(self) -> Beams:
        batch, beam_size = len(self.lens), self.options.beam_size
        states, history = self.head.prediction.start(batch)
        places = torch.zeros(batch, beam_size, dtype=torch.int64, device=self.lens.device)
        mass = torch.full(places.shape, NEVER, device=places.device)
        mass[:, 0] = 0
        return Beams(
            mass=mass,
            fused=torch.zeros_like(mass),
            hashes=torch.full_like(places, EMPTY),
            nodes=torch.full_like(places, -1),
            label_part=at_places(self.head.joint.pred(states).unsqueeze(1), places),
            history=at_places(history.unsqueeze(1), places),
            states=self.fusion.start(places.shape, places.device),
        )

    def _pass(self, frame: int, here: Beams) -> None:
        """Let each sequence write some labels at `frame` and move on."""
        for step in range(self.options.expansion_steps + 1):
            left = (self.lens - frame).unsqueeze(1).expand_as(here.mass)
            parts = (self.encoder_part[:, frame : frame + 1], here.label_part)
            arcs = arcs_where(here.mass > NEVER, self.head, *parts, left, self.forbidden)
            blank = here.mass + arcs.tokens[..., -1]
            self._wait(frame, replace(here, mass=blank), arcs.blank_moves, self.blank_moves)
            if step == self.options.expansion_steps:
                return
            if (written := self._write(frame, here, arcs)) is None:
                return
            here, moves = written
            self._wait(frame, here, moves, self.label_moves)
            here = replace(here, mass=here.mass + moves[..., 0])

    def _wait(self, frame: int, beams: Beams, moves: Tensor, possible: range) -> None:
        for move in possible:
            self.pool.put(frame + move, replace(beams, mass=beams.mass + moves[..., move]))

    def _write(self, frame: int, here: Beams, arcs: Arcs) -> tuple[Beams, Tensor] | None:
        """The best sequences with one more label, their moves (B, N, moves); None if no label is worth it."""
        width = self.options.beam_size + self.options.expansion_beta
        count = min(self.options.candidates if self.fusion.scorers else width, self.head.blank_id)
        log_probs, tokens = arcs.tokens[..., :-1].topk(count)  # (B, K, count)
        gained, states = self.fusion.step(here.states, tokens)
        worth = log_probs + gained
        best = torch.maximum(worth.amax(dim=2), arcs.tokens[..., -1])
        worth = worth.masked_fill(worth < best.unsqueeze(2) - self.options.expansion_gamma, NEVER)
        total = (here.total.unsqueeze(2) + worth).flatten(1)
        total, way = total.topk(min(width, total.size(1)))
        if not (most := int((total > NEVER).sum(dim=1).max())):
            return None
        total, way = total[:, :most], way[:, :most]  # (B, N)
        parents, token = way // count, tokens.flatten(1).gather(1, way)
        log_prob, moves = log_probs.flatten(1).gather(1, way), at_places(arcs.label_moves, parents)
        nodes = self.notes.add(
            frame, [here.nodes.gather(1, parents), token, moves.argmax(dim=2).clamp(min=1), log_prob]
        )
        grown = self._grown(here.at(parents), token, total > NEVER)
        fused = grown.fused + gained.flatten(1).gather(1, way)
        mass = (grown.mass + log_prob).masked_fill(total == NEVER, NEVER)
        states = at_places(states.flatten(1, 2), way)
        return replace(grown, mass=mass, fused=fused, nodes=nodes, states=states), moves

    def _grown(self, parents: Beams, tokens: Tensor, alive: Tensor) -> Beams:
        """Sequences (B, N) with one more label; those that are not alive keep their parent's state."""
        # The prediction network is most of the work. An accelerator would wait for the number of rows.
        rows = alive.flatten().nonzero()[:, 0] if alive.device.type == "cpu" else slice(None)
        label_part, history = parents.label_part.flatten(0, 1), parents.history.flatten(0, 1)
        states, history[rows] = self.head.prediction.step(tokens.flatten()[rows], history[rows])
        label_part[rows] = self.head.joint.pred(states)
        return replace(
            parents,
            hashes=hash_with(parents.hashes, tokens),
            label_part=label_part.view_as(parents.label_part),
            history=history.view_as(parents.history),
        )


def _best(
    places: Sequence[list[Place]], totals: Sequence[float], greedy: DecodedTokens
) -> list[DecodedTokens]:
    found = {tuple(greedy.tokens): greedy}
    for one, total in zip(places, totals, strict=True):
        tokens = tuple(token for token, *_ in one)
        if total > NEVER and (tokens not in found or total >= found[tokens].score):
            found[tokens] = DecodedTokens.of(one, total)
    return sorted(found.values(), key=lambda one: -one.score)
