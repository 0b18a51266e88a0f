"""Reading n-gram models from ARPA text files, plain or gzip."""

import gzip
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
NEVER = -99 * math.log(10)
"""Log-probability of a word that a model without `<unk>` does not know; -99 is ARPA's own zero."""

_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_SECTION = re.compile(r"\\(\d+)-grams:")

History = tuple[str, ...]


class BadLanguageModel(ValueError):
    """A language model file that cannot be used; the message names it."""


@dataclass(frozen=True)
class NgramModel:
    """An n-gram model with back-off; all figures are natural logarithms."""

    order: int
    """Words of the longest n-grams."""
    log_probs: dict[History, float]
    """Of each n-gram, oldest word first."""
    backoffs: dict[History, float]
    """Of the n-grams that have one."""

    @property
    def words(self) -> list[str]:
        """The vocabulary, with the special words."""
        return [ngram[0] for ngram in self.log_probs if len(ngram) == 1]

    @property
    def start(self) -> History:
        """The history at the beginning of a text."""
        return self.suffix((BEGIN,))

    def step(self, history: History, word: str) -> tuple[float, History]:
        """Log-probability of `word` after `history`, and the history then."""
        if (word,) not in self.log_probs:
            word = UNKNOWN
        penalty = 0.0
        while history and (*history, word) not in self.log_probs:
            penalty += self.backoffs.get(history, 0.0)
            history = history[1:]
        ngram = (*history, word)
        return penalty + self.log_probs.get(ngram, NEVER), self.suffix(ngram)

    def end(self, history: History) -> float:
        """Log-probability of the end of the text after `history`; zero in a model that knows no ends."""
        return self.step(history, END)[0] if (END,) in self.log_probs else 0.0

    def suffix(self, ngram: History) -> History:
        """The longest suffix of `ngram` that the model can go on from."""
        ngram = ngram[-(self.order - 1) :] if self.order > 1 else ()
        while ngram and ngram not in self.log_probs:
            ngram = ngram[1:]
        return ngram


def read_arpa(path: str | Path) -> NgramModel:
    """The model in the ARPA file at `path`, which may be compressed with gzip.

    Raises:
        BadLanguageModel: not an ARPA file, a line that makes no sense, or fewer n-grams than announced.
    """
    with _opened(Path(path)) as file:
        lines = enumerate((line.strip() for line in file), start=1)
        try:
            return _parse(lines, path)
        except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise BadLanguageModel(f"{path} is not an ARPA language model: {error}") from None


def _parse(lines: Iterator[tuple[int, str]], path: str | Path) -> NgramModel:
    if not any(line == "\\data\\" for _, line in lines):
        raise BadLanguageModel(f"{path} is not an ARPA language model: it has no line \\data\\")
    announced: dict[int, int] = {}
    log_probs: dict[History, float] = {}
    backoffs: dict[History, float] = {}
    order = 0
    for number, line in lines:
        if line == "\\end\\":
            break
        if match := _COUNT.fullmatch(line):
            announced[int(match[1])] = int(match[2])
        elif match := _SECTION.fullmatch(line):
            order = int(match[1])
        elif line:
            ngram, log_prob, backoff = _entry(line, order, f"{path}, line {number}")
            log_probs[ngram] = log_prob
            if backoff:
                backoffs[ngram] = backoff
    _check_counts(announced, log_probs, path)
    return NgramModel(max(announced), log_probs, backoffs)


def _entry(line: str, order: int, place: str) -> tuple[History, float, float]:
    fields = line.split()
    try:
        figures = [float(fields[0]), *map(float, fields[1 + order :])]
    except ValueError:
        figures = []
    if not order or not 1 + order <= len(fields) <= 2 + order or not figures:
        raise BadLanguageModel(f"{place} is no {order}-gram of an ARPA language model: {line!r}")
    log_prob, backoff = figures[0] * math.log(10), sum(figures[1:]) * math.log(10)
    return tuple(fields[1 : 1 + order]), log_prob, backoff


def _check_counts(
    announced: dict[int, int], ngrams: Sequence[History] | dict[History, float], path: str | Path
) -> None:
    found = dict.fromkeys(announced, 0)
    for ngram in ngrams:
        found[len(ngram)] = found.get(len(ngram), 0) + 1
    if not announced:
        raise BadLanguageModel(f"{path} is not an ARPA language model: it announces no n-grams")
    for order, count in announced.items():
        if found[order] != count:
            raise BadLanguageModel(
                f"{path} announces {count} {order}-grams and holds {found[order]}: it is damaged"
            )


def _opened(path: Path) -> IO[str]:
    if not path.is_file():
        raise BadLanguageModel(f"no such language model: {path}")
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")
