"""Language identification, where a system wrote the language that it recognised (`pred_lang`)."""

from collections import Counter
from dataclasses import dataclass, field

from maya_eval.hypotheses import Hypothesis

COLUMN = "pred_lang"


@dataclass
class Identification:
    """How often which language was taken for which; lines without a recognised language are not counted."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, row: Hypothesis, column: str = COLUMN) -> None:
        """Counts one utterance."""
        if recognised := row.column(column):
            self.pairs[row.lang, recognised] += 1

    @property
    def utterances(self) -> int:
        """Utterances with a recognised language."""
        return self.pairs.total()

    @property
    def accuracy(self) -> float | None:
        """Share of them that were recognised as what they are."""
        return _right(self.pairs) / self.utterances if self.pairs else None

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        """Counts by language and recognised language, both in alphabetical order."""
        table: dict[str, dict[str, int]] = {}
        for (lang, recognised), count in sorted(self.pairs.items()):
            table.setdefault(lang, {})[recognised] = count
        return table

    def to_dict(self) -> dict[str, object]:
        """Returns accuracy, that of each language, and the confusion, as JSON takes them."""
        by_lang = {lang: row.get(lang, 0) / sum(row.values()) for lang, row in self.confusion.items()}
        return {
            "utterances": self.utterances,
            "accuracy": self.accuracy,
            "by_lang": by_lang,
            "confusion": self.confusion,
        }


def _right(pairs: Counter[tuple[str, str]]) -> int:
    return sum(count for (lang, recognised), count in pairs.items() if lang == recognised)
