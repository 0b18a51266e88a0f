"""What a shard leaves out: counted by reason, with the first places of each by name."""

from collections import Counter, defaultdict

NAMED = 3
"""Places that are named of each reason; the others are only counted."""


class LeftOut:
    """Counts lines and segments that become no row."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._places: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, place: str, number: int = 1) -> None:
        """Count `number` more of `reason`; `place` names the file and the line or id."""
        self._counts[reason] += number
        if len(self._places[reason]) < NAMED:
            self._places[reason].append(place)

    def counter(self) -> Counter[str]:
        """Return reason and first places -> number: `{"id met twice (train.tsv: a.mp3)": 1}`."""
        return Counter({self._named(reason): number for reason, number in self._counts.items()})

    def _named(self, reason: str) -> str:
        places = self._places[reason]
        more = self._counts[reason] - len(places)
        return f"{reason} ({', '.join(places)}{f' and {more:,} more' if more > 0 else ''})"

    def merge(self, other: "LeftOut") -> None:
        """Count what another one has counted."""
        for reason, number in other._counts.items():
            self._counts[reason] += number
            self._places[reason] = (self._places[reason] + other._places[reason])[:NAMED]

    def __bool__(self) -> bool:
        return bool(self._counts)
