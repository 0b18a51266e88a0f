from types import SimpleNamespace

import pytest
import torch

from maya_bridge.decoding.beam import beam_search
from maya_bridge.decoding.greedy import Task

EOS, SIZE, CAP = 0, 7, 6


class TableRun:
    """Stands where an LLMRun does: the next token depends on the row and the last two tokens."""

    def __init__(self, table: torch.Tensor):
        self.table = table  # (B, V, V, V)
        self.rows = torch.arange(len(table))

    def prefill(self, prompt) -> torch.Tensor:
        self.pairs = torch.zeros(len(self.rows), 2, dtype=torch.long)
        return self._logits()

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        self.pairs = torch.stack([self.pairs[:, 1], ids], dim=1)
        return self._logits()[:, None]

    def reorder(self, chosen: list[int]) -> None:
        self.rows, self.pairs = self.rows[chosen], self.pairs[chosen]

    def _logits(self) -> torch.Tensor:
        return self.table[self.rows, self.pairs[:, 0], self.pairs[:, 1]]


def plain_beam(table: torch.Tensor, size: int) -> list[tuple[list[int], float, bool]]:
    """One row, no batch, no early end: every text runs to the cap."""
    log_probs = table.log_softmax(-1)
    live, ended = [([], 0.0)], []
    for step in range(CAP):
        longer = []
        for ids, score in live:
            last = [0, 0, *ids][-2:]
            gains = log_probs[last[0], last[1]].tolist()
            longer += [([*ids, token], score + gain) for token, gain in enumerate(gains)]
        longer.sort(key=lambda one: -one[1])
        ended += [(ids[:-1], score, True) for ids, score in longer[:size] if ids[-1] == EOS]
        live = [one for one in longer if one[0][-1] != EOS][:size]
        if step == CAP - 1:
            ended += [(ids, score, False) for ids, score in live]
    ended = sorted(ended, key=lambda one: -one[1])[:size]
    return [one for one in ended if one[2]] or ended


@pytest.mark.parametrize("size", [1, 2, 4, 9])
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_a_batch_finds_what_a_plain_search_finds_row_by_row(size, spread) -> None:
    for seed in range(8):
        table = spread * torch.randn(5, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
        tokenizer = SimpleNamespace(eos_id=EOS, decode=lambda ids, lang: " ".join(map(str, ids)))
        task = Task(tokenizer, ["hi"] * 5, [CAP] * 5)
        for row, found in enumerate(beam_search(TableRun(table), None, task, size)):
            wanted = plain_beam(table[row], size)
            assert [one.ids for one in found.nbest] == [ids for ids, _, _ in wanted]
            assert [one.llm_score for one in found.nbest] == pytest.approx(
                [s for _, s, _ in wanted], abs=1e-4
            )
            assert found.finished == wanted[0][2]
            assert 1 <= found.passes <= CAP
