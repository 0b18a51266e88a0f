"""What the CTC head says about a batch: the second opinion that drafts, guards and word times stand on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from maya_encoder.tokenizer import Tokenizer

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class CTCEvidence:
    """Log-probabilities (B, T, V) of a CTC head, blank last, with what is needed to read them."""

    log_probs: Tensor
    lens: Tensor
    """Valid frames (B,)."""
    tokenizer: "Tokenizer"
    """Of the acoustic model."""
    langs: Sequence[str]
    """Of the utterances."""

    @cached_property
    def tokens(self) -> list[list[int]]:
        """The best path of each utterance, runs merged, blanks dropped."""
        blank = self.log_probs.shape[-1] - 1
        best = self.log_probs.argmax(dim=-1).tolist()
        paths = (row[:count] for row, count in zip(best, self.lens.tolist(), strict=True))
        return [[label for label, _ in groupby(path) if label != blank] for path in paths]

    @cached_property
    def texts(self) -> list[str]:
        """Text of each best path, single spaces between the words."""
        pairs = zip(self.tokens, self.langs, strict=True)
        return [" ".join(self.tokenizer.decode(row, lang).split()) for row, lang in pairs]

    def mean_entropies(self) -> Tensor:
        """Return the mean entropy of the frames, in nats (B,): small where the head is sure."""
        from maya_bridge.projectors import valid_mask

        log_probs = self.log_probs.float()
        entropy = -(log_probs.exp() * log_probs.clamp(min=-1e4)).sum(dim=-1)  # (B, T)
        valid = valid_mask(self.lens, entropy.shape[1])
        return (entropy * valid).sum(dim=1) / self.lens.clamp(min=1)

    def encode(self, text: str, lang: str) -> list[int]:
        """Return the acoustic tokens of a text, without those that stand for unknown characters."""
        ids = self.tokenizer.encode(text, lang)
        return [i for i in ids if self.tokenizer.piece(i) != UNKNOWN]

    def part(self, rows: Sequence[int]) -> "CTCEvidence":
        """Return the evidence of some of the utterances."""
        chosen = list(rows)
        langs = [self.langs[row] for row in chosen]
        return CTCEvidence(self.log_probs[chosen], self.lens[chosen], self.tokenizer, langs)
