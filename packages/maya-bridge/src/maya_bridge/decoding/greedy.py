"""Greedy search: the best token, one at a time, for a batch whose rows end when they end."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from maya_bridge.decoding.result import Decoded
from maya_bridge.decoding.state import LLMRun
from maya_bridge.prompt import PromptBatch
from maya_bridge.text_side import LLMTokenizer


class Guard(Protocol):
    """Watches what is written, token by token."""

    def stops(self, row: int, ids: list[int]) -> bool:
        """Return whether row `row` of the batch must end behind `ids`."""


@dataclass(frozen=True)
class Task:
    """What a search is told besides the prompt; rows are those of the prompt batch."""

    tokenizer: LLMTokenizer
    langs: list[str]
    max_tokens: list[int]
    """Tokens after which a row ends, <eos> not counted (B)."""
    allowed: Tensor | None = None
    """What each row may write (B, V), True where a token is allowed; None for all."""
    guard: Guard | None = None

    def best(self, logits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best token that may be written and its log-probability, of logits (R, ..., V)."""
        logits = self.permitted(logits, rows)
        tops, ids = logits.max(dim=-1)  # the first of equals
        return ids, tops - logits.logsumexp(dim=-1)

    def permitted(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return logits (R, ..., V) of the given rows (R,) with -inf at what they may not write."""
        if self.allowed is None:
            return logits
        allowed = self.allowed.to(logits.device)[rows]
        return logits.masked_fill(~(allowed if logits.dim() == 2 else allowed[:, None]), float("-inf"))

    def ends(self, row: int, ids: list[int]) -> bool:
        """Return whether a row must end behind `ids`, which hold no <eos>."""
        if len(ids) >= self.max_tokens[row]:
            return True
        return self.guard is not None and self.guard.stops(row, ids)

    def decoded(self, row: int, ids: list[int], score: float, passes: int, finished: bool) -> Decoded:
        """Return the result of a row; `ids` without <eos>."""
        text = self.tokenizer.decode(ids, self.langs[row])
        return Decoded(ids, text, score=score, passes=passes, finished=finished)


@dataclass
class _Row:
    ids: list[int] = field(default_factory=list)
    score: float = 0.0


def greedy(run: LLMRun, prompt: PromptBatch, task: Task) -> list[Decoded]:
    """Return the greedy text of each prompt; rows that have ended leave the batch."""
    found: dict[int, Decoded] = {}
    rows = [_Row() for _ in task.langs]
    logits = run.prefill(prompt)
    while True:
        ids, gains = task.best(logits, run.rows)
        going = []
        for place, (row, token, gain) in enumerate(
            zip(run.rows.tolist(), ids.tolist(), gains.tolist(), strict=True)
        ):
            own, passes = rows[row], int(run.passes[place])
            own.score += gain
            if finished := token == task.tokenizer.eos_id:
                found[row] = task.decoded(row, own.ids, own.score, passes, finished)
                continue
            own.ids.append(token)
            if task.ends(row, own.ids):
                found[row] = task.decoded(row, own.ids, own.score, passes, finished)
            else:
                going.append(place)
        if not going:
            return [found[row] for row in range(len(task.langs))]
        if len(going) < len(run):
            run.reorder(going)
            ids = ids[going]
        logits = run.step(ids)[:, 0]
