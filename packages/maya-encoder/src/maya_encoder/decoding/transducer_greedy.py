"""Greedy transducer decoding for all utterances of a batch at once: label looping (Bataev et al. 2024).

The labels so far change only when a label is written, so each round scores a window of frames against one
history and goes on to the first label in it. The result is that of one utterance after the other, frame by
frame.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maya_encoder.decoding.decoded import DecodedTokens, rows_of
from maya_encoder.decoding.protocols import Transducer

WINDOW = 8  # frames scored at once; those after the label found are scored again
ROUNDS = 8  # rounds between two questions to an accelerator, each of which waits for it


@dataclass
class _Walk:
    """Where each utterance that still goes on stands; every field has a row (R,) for it."""

    rows: Tensor
    """Which utterance of the batch it is."""
    lens: Tensor
    label_part: Tensor
    """(R, J)."""
    history: Tensor
    """State of the prediction network (R, ...)."""
    frame: Tensor
    written_here: Tensor
    """Labels written at this frame."""
    score: Tensor
    forbidden: Tensor | None
    """(R, 1, V)."""

    def keep(self, index: Tensor) -> None:
        """Go on with the utterances at `index` only."""
        for name, value in vars(self).items():
            if value is not None:
                setattr(self, name, value[index])


class _Choices(NamedTuple):
    """The best choice at each frame of a window, each (R, W)."""

    labels: Tensor
    label_log_probs: Tensor
    moves: Tensor
    """Frames that the choice moves on; 0 for a label of an RNN transducer, 1 for its blank."""
    log_probs: Tensor
    """Of label and move together."""


class _Written(NamedTuple):
    """What a round wrote, each (R,); tokens of -1 are none."""

    rows: Tensor
    tokens: Tensor
    frames: Tensor
    end_frames: Tensor
    log_probs: Tensor


@torch.no_grad()
def transducer_greedy(
    head: Transducer, encoder_out: Tensor, encoder_out_lens: Tensor, forbidden: Tensor | None = None
) -> list[DecodedTokens]:
    """The best label at every step of each utterance; the score is that of this alignment, blanks included.

    A blank of duration 0 moves one frame on. After `config.max_symbols` labels at a frame comes a blank.

    Args:
        head: RNNT or TDT.
        encoder_out: encoder output (B, T, D).
        encoder_out_lens: valid frames (B,).
        forbidden: what to add to the token logits of each utterance (B, V), or None.
    """
    encoder_part = head.joint.enc(encoder_out)  # (B, T, J)
    walk = _start(head, encoder_out_lens, forbidden)
    durations = torch.tensor(head.durations, device=encoder_out.device)
    scores = torch.zeros(len(encoder_out), device=encoder_out.device)
    written: list[_Written] = []
    while True:
        if encoder_out.device.type == "cpu" or len(written) % ROUNDS == 0:
            unfinished = (walk.frame < walk.lens).nonzero()[:, 0]
            if len(unfinished) < len(walk.rows):
                scores[walk.rows] = walk.score
                walk.keep(unfinished)
            if not len(unfinished):
                return _collect(written, scores)
        written.append(_round(head, walk, encoder_part, durations))


def _start(head: Transducer, lens: Tensor, forbidden: Tensor | None) -> _Walk:
    states, history = head.prediction.start(len(lens))
    return _Walk(
        rows=torch.arange(len(lens), device=lens.device),
        lens=lens,
        label_part=head.joint.pred(states),
        history=history,
        frame=torch.zeros_like(lens),
        written_here=torch.zeros_like(lens),
        score=torch.zeros(len(lens), device=lens.device),
        forbidden=None if forbidden is None else forbidden.unsqueeze(1),
    )


def _round(head: Transducer, walk: _Walk, encoder_part: Tensor, durations: Tensor) -> _Written:
    """Move every utterance on to its next label, or to the end of the window; `walk` changes."""
    choices = _choices(head, walk, encoder_part, durations)
    place, found, passed = _first_label(choices, walk, head.blank_id, max(1, *head.durations, 1))
    here = place.clamp(max=WINDOW - 1).unsqueeze(1)
    label, label_log_prob, move, log_prob = (field.gather(1, here)[:, 0] for field in choices)
    frame = walk.frame + place
    written_here = torch.where(place > 0, 0, walk.written_here)
    walk.written_here = torch.where(
        found & (move == 0), written_here + 1, torch.where(found, 0, written_here)
    )
    walk.frame = torch.where(found, frame + move, frame)
    walk.score = walk.score + passed + torch.where(found, log_prob, 0.0)
    _remember(head, walk, label, found)
    ends = torch.minimum(frame + move.clamp(min=1), walk.lens)
    return _Written(walk.rows, torch.where(found, label, -1), frame, ends, label_log_prob)


def _remember(head: Transducer, walk: _Walk, label: Tensor, found: Tensor) -> None:
    """Let the utterances of `found` (R,) go on from a history with `label`."""
    # On an accelerator it is cheaper to compute rows in vain than to wait for their number.
    count = int(found.sum()) if found.device.type == "cpu" else len(found)
    if 2 * count > len(found):
        states, history = head.prediction.step(torch.where(found, label, head.blank_id), walk.history)
        walk.history = _choose(found, history, walk.history)
        walk.label_part = _choose(found, head.joint.pred(states), walk.label_part)
    elif count:
        rows = found.nonzero()[:, 0]
        states, history = head.prediction.step(label[rows], walk.history[rows])
        walk.history = walk.history.index_copy(0, rows, history)
        walk.label_part = walk.label_part.index_copy(0, rows, head.joint.pred(states))


def _choices(head: Transducer, walk: _Walk, encoder_part: Tensor, durations: Tensor) -> _Choices:
    ahead = walk.frame.unsqueeze(1) + torch.arange(WINDOW, device=walk.frame.device)
    window = encoder_part[walk.rows.unsqueeze(1), ahead.clamp(max=encoder_part.size(1) - 1)]  # (R, W, J)
    logits = head.joint(window, walk.label_part.unsqueeze(1)).float()  # (R, W, V + durations)
    token_logits = logits[..., : head.blank_id + 1]
    if walk.forbidden is not None:
        token_logits = token_logits + walk.forbidden
    best, labels = token_logits.max(dim=-1)
    total = token_logits.logsumexp(dim=-1)
    full = walk.written_here >= head.config.max_symbols  # the blank is all that is left at this frame
    best[:, 0] = torch.where(full, token_logits[:, 0, -1], best[:, 0])
    labels[:, 0] = torch.where(full, head.blank_id, labels[:, 0])
    is_blank = labels == head.blank_id
    if not head.durations:
        return _Choices(labels, best - total, is_blank.long(), best - total)
    lasting = logits[..., head.blank_id + 1 :].log_softmax(dim=-1)
    lasting[:, 0].masked_fill_(full.unsqueeze(1) & (durations > 1), -torch.inf)
    longest, kind = lasting.max(dim=-1)
    moves = durations[kind]
    moves = torch.where(is_blank, moves.clamp(min=1), moves)
    return _Choices(labels, best - total, moves, best - total + longest)


def _first_label(
    choices: _Choices, walk: _Walk, blank_id: int, longest: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Where in a window the first label is, or where to go on; whether there is one; log-mass so far.

    Blanks lead on, labels and the end of the audio lead nowhere; following all links twice as far each time
    is a handful of steps however many blanks there are.
    """
    places = torch.arange(WINDOW + longest, device=walk.frame.device)
    goes_on = (choices.labels == blank_id) & (places[:WINDOW] < (walk.lens - walk.frame).unsqueeze(1))
    links = places.repeat(len(walk.frame), 1)  # (R, W + longest)
    links[:, :WINDOW] += choices.moves.masked_fill(~goes_on, 0)
    mass = F.pad(choices.log_probs.masked_fill(~goes_on, 0.0), (0, longest))
    for _ in range((WINDOW - 1).bit_length()):
        mass = mass + mass.gather(1, links)
        links = links.gather(1, links)
    place = links[:, 0]
    found = (place < WINDOW) & (walk.frame + place < walk.lens)
    return place, found, mass[:, 0]


def _choose(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.view(-1, *[1] * (new.dim() - 1)), new, old)


def _collect(written: list[_Written], scores: Tensor) -> list[DecodedTokens]:
    shape = (len(written), len(scores))
    tokens, frames, ends = (torch.full(shape, -1, device=scores.device) for _ in range(3))
    log_probs = torch.zeros(shape, device=scores.device)
    for n, one in enumerate(written):
        tokens[n, one.rows], frames[n, one.rows], ends[n, one.rows] = one.tokens, one.frames, one.end_frames
        log_probs[n, one.rows] = one.log_probs
    return rows_of(tokens.T, frames.T, ends.T, log_probs.T, scores)
