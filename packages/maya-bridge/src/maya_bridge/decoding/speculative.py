"""Greedy search in few passes: an LLM confirms a draft, and only what it would write itself is kept.

One pass reads the last token that is certain and all that is proposed behind it; what the LLM answers there
tells how many proposals were right, and the token that follows them. After a wrong one the draft is aligned
with the text anew and proposed from there. A wrong proposal costs time and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maya_bridge.decoding.draft import Draft
from maya_bridge.decoding.greedy import Task
from maya_bridge.decoding.lazy_logits import LazyLogits
from maya_bridge.decoding.options import SMALL_VOCABULARY, SpeculativeOptions
from maya_bridge.decoding.result import Decoded
from maya_bridge.decoding.state import LLMRun
from maya_bridge.prompt import PromptBatch

NONE = -1
MAX_LOGITS = 2**27
"""Logits of one pass of a batch: half a gigabyte."""
MIN_PROPOSED = 8
FEW = 1
"""Tokens proposed where it is not sure how the draft goes on; on a CPU with an LLM of many tokens, where a
pass over two tokens takes a third of the time of one over thirty."""
MAX_DOUBT, LOW_DOUBT = 0.6, 0.3
"""Doubt about a proposal from which it is not sure, and the same behind a pass that confirmed none."""
AT_ONCE = 24
"""Positions that get logits at a time; on a CPU so many cost hardly more than four."""


@dataclass
class _Row:
    """An utterance on its way: what is certain, and what is proposed to follow."""

    draft: Draft
    ids: list[int] = field(default_factory=list)
    score: float = 0.0
    proposed: list[int] = field(default_factory=list)
    """Tokens, and <eos> in the end where nothing of the draft is left out."""
    done: bool = False
    finished: bool = False
    confirmed: int = 1
    """Proposals that the last pass confirmed."""

    def propose(self, rest: list[int] | None, limit: int, eos_id: int) -> None:
        """Propose `limit` tokens at most of what the draft has to say."""
        self.confirmed = 0
        if rest is None:
            self.proposed = []
        else:
            self.proposed = [*rest, eos_id] if len(rest) <= limit else rest[:limit]

    def fed(self, eos_id: int) -> list[int]:
        """What the LLM has not read yet: the token found last, and the proposals."""
        proposed = self.proposed[:-1] if self.proposed[-1:] == [eos_id] else self.proposed
        return self.ids[-1:] + proposed

    def take(self, row: int, task: Task, start: int, chosen: list[int], gains: list[float]) -> bool:
        """Go on with the tokens chosen behind what was fed, as far as they follow the proposals.

        Returns:
            Whether they follow all of them so far: those from number `start` on, one for each token.
        """
        for place, (token, gain) in enumerate(zip(chosen, gains, strict=True), start=start):
            self.score += gain
            if token == task.tokenizer.eos_id:
                self.done = self.finished = True
                return False
            self.ids.append(token)
            self.done = task.ends(row, self.ids)
            if self.done or self.proposed[place : place + 1] != [token]:
                return False
            self.confirmed += 1
        return True


def speculative(
    run: LLMRun,
    prompt: PromptBatch,
    task: Task,
    drafts: Sequence[str],
    options: SpeculativeOptions | None = None,
    entropies: Sequence[float] | None = None,
) -> list[Decoded]:
    """Return the text of each prompt; in exact mode that of greedy search, but for ties of floating point.

    Args:
        run: of the LLM.
        prompt: left-padded rows.
        task: caps, guards and permitted tokens, as greedy search has them.
        drafts: a text for each row, anything at all; the nearer to the result, the fewer passes.
        options: what passes for confirmed.
        entropies: mean entropy of each draft's CTC frames in nats, which mode gate needs.

    Raises:
        ValueError: not one draft (and entropy, in mode gate) for each row.
    """
    options = options or SpeculativeOptions()
    _check("drafts", drafts, task)
    if options.mode == "gate":
        _check("entropies", entropies, task)
    sure = _sure_rows(options, entropies, task.langs)
    found = {row: Decoded([], " ".join(drafts[row].split()), passes=0, fallback="gate") for row in sure}
    numbers = [row for row in range(len(drafts)) if row not in found]
    if numbers:
        found |= _verify(run, prompt, task, options, {row: _start(drafts, row, task) for row in numbers})
    return [found[row] for row in range(len(drafts))]


def _check(name: str, given: Sequence[object] | None, task: Task) -> None:
    if given is None or len(given) != len(task.langs):
        got = "none" if given is None else len(given)
        raise ValueError(f"`{name}` must be one for each of {len(task.langs)} prompts, got {got}")


def _sure_rows(
    options: SpeculativeOptions, entropies: Sequence[float] | None, langs: Sequence[str]
) -> list[int]:
    if options.mode != "gate" or entropies is None:
        return []
    pairs = enumerate(zip(entropies, langs, strict=True))
    return [row for row, (entropy, lang) in pairs if entropy <= options.entropy_limit(lang)]


def _start(drafts: Sequence[str], row: int, task: Task) -> _Row:
    return _Row(Draft(drafts[row], task.langs[row], task.tokenizer, task.max_tokens[row]))


def _verify(
    run: LLMRun, prompt: PromptBatch, task: Task, options: SpeculativeOptions, rows: dict[int, _Row]
) -> dict[int, Decoded]:
    """Alternate between proposing and confirming until every row has ended."""
    found: dict[int, Decoded] = {}
    going = list(rows)
    while going:
        for row in going:
            own = rows[row]
            rest = own.draft.propose(own.ids)
            own.propose(rest, _limit(len(going), task, row, own, run.device), task.tokenizer.eos_id)
        ids, lens = _padded([rows[row].fed(task.tokenizer.eos_id) for row in going], task, run.device)
        logits = run.verify(ids, lens) if len(run) else run.verify_behind(prompt, ids, lens, rows=going)
        _take(logits, [rows[row] for row in going], run.rows, task, options)
        for place, row in enumerate(going):
            if rows[row].done:
                own, passes = rows[row], int(run.passes[place])
                found[row] = task.decoded(row, own.ids, own.score, passes, own.finished)
        going = _leave_out(run, going, rows)
    return found


def _take(
    logits: LazyLogits, rows: list[_Row], numbers: Tensor, task: Task, options: SpeculativeOptions
) -> None:
    """Let each row take what was confirmed; behind its first wrong proposal no logits are made for it."""
    places = list(range(len(rows)))
    for start in range(0, logits.num_positions, AT_ONCE):
        end = min(start + AT_ONCE, logits.num_positions)
        going, of = [rows[place] for place in places], numbers[places]
        chosen, gains = _choose(logits.part(places, start, end), going, start, of, task, options)
        found = zip(places, chosen, gains, strict=True)
        places = [
            place
            for place, tokens, gain in found
            if rows[place].take(int(numbers[place]), task, start, tokens, gain)
        ]
        if not places:
            return


def _limit(num_rows: int, task: Task, row: int, own: _Row, device: torch.device) -> int:
    """Return how many proposals may follow: what memory and the row's cap allow, and what is worth it."""
    per_row = MAX_LOGITS // (num_rows * len(task.tokenizer.text_ids)) - 1
    dear = device.type == "cpu" and len(task.tokenizer.text_ids) >= SMALL_VOCABULARY
    unsure = own.draft.doubt > (MAX_DOUBT if own.confirmed else LOW_DOUBT)
    limit = FEW if dear and unsure else max(per_row, MIN_PROPOSED)
    return max(min(limit, task.max_tokens[row] - len(own.ids) - 1), 0)


def _padded(rows: list[list[int]], task: Task, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids (R, K), right-padded, and their lengths (R,)."""
    lens = torch.tensor([len(row) for row in rows], device=device)
    width = max(map(len, rows))
    padded = [row + [task.tokenizer.pad_id] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.long, device=device).view(len(rows), width), lens


def _choose(
    logits: Tensor, rows: list[_Row], start: int, numbers: Tensor, task: Task, options: SpeculativeOptions
) -> tuple[list[list[int]], list[list[float]]]:
    """Return the token that follows each position (R, K), and its log-probability."""
    best, gains = task.best(logits, numbers)
    if options.mode == "relaxed":
        near, of_near = _near_best(logits, rows, start, numbers, task, options)
        best, gains = torch.where(near >= 0, near, best), torch.where(near >= 0, gains - of_near, gains)
    return best.tolist(), gains.tolist()


def _near_best(
    logits: Tensor, rows: list[_Row], start: int, numbers: Tensor, task: Task, options: SpeculativeOptions
) -> tuple[Tensor, Tensor]:
    """Return the proposals that pass (R, K), NONE elsewhere, and how far each is below the best token."""
    logits = task.permitted(logits, numbers)
    width = logits.shape[1]
    padded = [(row.proposed[start:] + [NONE] * width)[:width] for row in rows]
    proposed = torch.tensor(padded, device=logits.device)
    own = logits.gather(2, proposed.clamp(min=0)[..., None])  # (R, K, 1)
    gap = (logits.amax(dim=2, keepdim=True) - own)[..., 0]
    rank = (logits > own).sum(dim=2)
    passes = (proposed >= 0) & (rank < options.top_k) & (gap <= options.max_gap)
    return torch.where(passes, proposed, NONE), gap


def _leave_out(run: LLMRun, going: list[int], rows: dict[int, _Row]) -> list[int]:
    """Let ended rows leave, take back what the others did not confirm, and return the others."""
    places = [place for place, row in enumerate(going) if not rows[row].done]
    if places and len(places) < len(going):
        run.reorder(places)
    left = [going[place] for place in places]
    if left:
        run.crop(torch.tensor([len(rows[row].ids) - 1 for row in left], device=run.device))
    return left
