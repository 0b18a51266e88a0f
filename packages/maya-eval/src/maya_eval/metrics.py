"""Word, character, cluster and sentence errors as `torchmetrics.Metric`s: a row of int64 an utterance.

They are exact over ranks: float32 counters stop counting at 2**24, rows do not, and an utterance that two
ranks saw (samplers pad) is counted once.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from maya_eval.edits import ErrorCounts, char_errors, cluster_errors, sentence_errors, word_errors

__all__ = [
    "CharErrors",
    "ClusterErrors",
    "ErrorCounts",
    "SentenceErrors",
    "WordErrors",
    "char_errors",
    "word_errors",
]


class _ErrorMetric(Metric):
    """Rows of (id, sub, del, ins, ref), one an utterance, gathered over ranks and thinned to one an id."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    rows: list[Tensor]
    count: Callable[[str, str], ErrorCounts]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, refs: Sequence[str], hyps: Sequence[str], ids: Sequence[str]) -> None:
        """Counts a batch.

        Args:
            refs: what was said, normalised.
            hyps: what was recognised, normalised.
            ids: utterance ids; one that was counted before is not counted again.
        """
        if not len(refs) == len(hyps) == len(ids):
            raise ValueError(
                f"`refs`, `hyps` and `ids` must be of one length, got {len(refs)}, {len(hyps)}, {len(ids)}"
            )
        counts = [type(self).count(ref, hyp) for ref, hyp in zip(refs, hyps, strict=True)]
        rows = [(_key(i), c.sub, c.del_, c.ins, c.ref) for i, c in zip(ids, counts, strict=True)]
        self.rows.append(self._table(rows))

    def compute(self) -> dict[str, Tensor]:
        """Returns `rate` (float64, NaN without reference), `sub`, `del`, `ins`, `ref` and `utterances`."""
        table = torch.cat(self.rows) if isinstance(self.rows, list) and self.rows else self.rows
        table = table if isinstance(table, Tensor) else self._table([])  # (N, 5)
        _, first = _first_of_each(table[:, 0])
        sub, del_, ins, ref = table[first, 1:].sum(dim=0)
        rate = (sub + del_ + ins).double() / ref
        utterances = torch.tensor(len(first), device=table.device)
        return {"rate": rate, "sub": sub, "del": del_, "ins": ins, "ref": ref, "utterances": utterances}

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gathers the rows of all ranks; a rank that saw nothing takes part with an empty table."""
        if isinstance(self.rows, list) and not self.rows:
            self.rows = [self._table([])]
        super().sync(*args, **kwargs)

    def set_dtype(self, dst_type: str | torch.dtype) -> "_ErrorMetric":
        """Leaves the counts as they are: torchmetrics would make halves of them."""
        return self

    def _table(self, rows: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self.device).reshape(-1, 5)


class WordErrors(_ErrorMetric):
    """Word errors of a corpus, exact over ranks."""

    count = staticmethod(word_errors)


class CharErrors(_ErrorMetric):
    """Character errors of a corpus, exact over ranks."""

    count = staticmethod(char_errors)


class ClusterErrors(_ErrorMetric):
    """Grapheme cluster errors of a corpus, exact over ranks."""

    count = staticmethod(cluster_errors)


class SentenceErrors(_ErrorMetric):
    """Utterances with any word error, exact over ranks."""

    count = staticmethod(sentence_errors)


def _key(utt_id: str) -> int:
    digest = hashlib.blake2b(utt_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _first_of_each(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the distinct keys and where each stands first."""
    distinct, inverse = torch.unique(keys, return_inverse=True)
    first = torch.full_like(distinct, len(keys))
    places = torch.arange(len(keys), device=keys.device)
    return distinct, first.scatter_reduce(0, inverse, places, reduce="amin")
