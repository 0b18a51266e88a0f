"""Finds the place in a draft from which it goes on, once the text that is really written differs from it.

Words are aligned with words, the last one, which may still be growing, with the letters of a word. Everything
here is a guess about what comes next: a wrong one costs a little work and never changes the text.
"""

from collections.abc import Iterator, Sequence

LEFT_OUT = 1.0
"""Cost of a word that only the text has."""
PUT_IN = 0.3
"""Cost of a word that only the draft has: less, as the word behind it shows that it is one."""
REPLACED = 0.9
"""Cost of a word in place of one that has nothing in common with it: less than leaving one out."""
WHOLE = 0.65
"""The same for the last word, if it is taken for whole."""
SLACK = 1.25
"""How much worse than the best one a place may be and still be tried."""
MAX_PLACES = 4
MAX_LETTERS = 40
"""Letters of a word that are compared."""


class Resync:
    """The words of a draft, aligned with a text that grows word by word."""

    def __init__(self, draft: str):
        self.words = draft.split()
        self._costs = [PUT_IN * place for place in range(len(self.words) + 1)]
        self._num_read = 0

    def read(self, words: Sequence[str]) -> None:
        """Align with the whole words written so far; those of earlier calls come first among them."""
        for word in words[self._num_read :]:
            self._costs = self._behind(word)
        self._num_read = max(self._num_read, len(words))

    def _behind(self, word: str) -> list[float]:
        before = self._costs
        costs = [before[0] + LEFT_OUT]
        for place, drafted in enumerate(self.words):
            replaced = before[place] + REPLACED * unlikeness(word, drafted)
            costs.append(min(replaced, before[place + 1] + LEFT_OUT, costs[place] + PUT_IN))
        return costs

    def continuations(self, begun: str) -> list[str]:
        """Return what may follow a word that has begun, and may be whole, the likeliest first.

        Each is the rest of that word and, behind a space, the rest of the draft.
        """
        return [rest for rest, _ in self.ranked(begun)]

    def ranked(self, begun: str) -> list[tuple[str, float]]:
        """Return the same with the cost of each, above that of the whole words written so far."""
        found: dict[str, tuple[float, int]] = {}
        least = min(self._costs)
        near = [place for place, cost in enumerate(self._costs) if cost <= least + SLACK]
        for place in sorted(near, key=lambda place: self._costs[place])[:MAX_PLACES]:
            for cost, rest, tie in self._from(place, begun):
                key = (self._costs[place] + cost, tie)
                found[rest] = min(found.get(rest, key), key)
        return [(rest, found[rest][0] - least) for rest in sorted(found, key=lambda rest: found[rest])]

    def _from(self, place: int, begun: str) -> Iterator[tuple[float, str, int]]:
        """Cost, rest and tie-breaker of the ways to go on where `place` words of the draft are done with."""
        if not begun:
            yield 0.0, " ".join(self.words[place:]), 0
            return
        yield LEFT_OUT, self._tail(place), 0
        if place == len(self.words):
            return
        drafted = self.words[place]
        yield WHOLE * unlikeness(begun, drafted), self._tail(place + 1), 0
        for letters, edits in enumerate(prefix_distances(begun, drafted)):
            if edits < len(begun):
                rest = drafted[letters:] + self._tail(place + 1)
                yield REPLACED * edits / len(begun), rest, abs(letters - len(begun))

    def _tail(self, place: int) -> str:
        return "".join(f" {word}" for word in self.words[place:])


def unlikeness(word: str, other: str) -> float:
    """Return the share, 0 to 1, of the longer word that is not in a common beginning or end."""
    if word == other:
        return 0.0
    shorter, longer = sorted((len(word), len(other)))
    begin = _num_equal(word, other, shorter)
    end = _num_equal(word[::-1], other[::-1], shorter - begin)
    return 1 - (begin + end) / longer


def _num_equal(word: str, other: str, limit: int) -> int:
    count = 0
    while count < limit and word[count] == other[count]:
        count += 1
    return count


def prefix_distances(begun: str, word: str) -> list[int]:
    """Return the fewest edits between `begun` and the first 0, 1, 2, ... letters of `word`."""
    word = word[:MAX_LETTERS]
    edits = list(range(len(word) + 1))
    for number, letter in enumerate(begun[:MAX_LETTERS], start=1):
        row = [number]
        for place, other in enumerate(word):
            row.append(min(edits[place] + (letter != other), edits[place + 1] + 1, row[place] + 1))
        edits = row
    return edits
