"""Groups that utterances are scored in: by columns of their lines, numbers in buckets.

`duration` (seconds), `words` (of the reference) and `cmi` (how much two languages are mixed in the
reference) have buckets of their own; any other column is taken as it stands, unless edges are given for it.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from maya_eval.counting import Scored
from maya_eval.measures.codeswitch import mixing_index

EDGES: dict[str, tuple[float, ...]] = {
    "duration": (2.0, 5.0, 10.0, 20.0, 30.0),
    "words": (1.0, 3.0, 6.0, 11.0, 21.0),
    "cmi": (1e-9, 10.0, 20.0, 30.0),
}
NAMES = {"cmi": ("0", "0-10", "10-20", "20-30", "30-")}

Key = tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Grouping:
    """Which columns make the groups, and at which values numbers are parted."""

    columns: tuple[str, ...] = ("lang",)
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, columns: str, edges: Mapping[str, tuple[float, ...]] | None = None) -> "Grouping":
        """Reads `lang,duration`; edges of a column that is not grouped by are refused."""
        names = tuple(name.strip() for name in columns.split(",") if name.strip())
        if not names:
            raise ValueError(f"a grouping names one or more columns, got {columns!r}")
        for name, values in (edges or {}).items():
            if name not in names:
                raise ValueError(f"edges are given for {name!r}, which is not among the columns {columns!r}")
            if list(values) != sorted(set(values)):
                raise ValueError(f"edges must rise, got {name}={','.join(f'{v:g}' for v in values)}")
        return cls(names, {name: EDGES[name] for name in names if name in EDGES} | dict(edges or {}))

    @property
    def title(self) -> str:
        """The columns as a heading."""
        return ", ".join(self.columns)

    def key(self, item: Scored) -> Key:
        """Returns the group of an utterance: of each column a rank and a name, so that keys sort well."""
        return tuple(self._place(name, item) for name in self.columns)

    def _place(self, name: str, item: Scored) -> tuple[int, str]:
        edges = self.edges.get(name)
        if edges is None:
            return 0, item.hypothesis.column(name)
        value = _number(name, item)
        if value is None:
            return len(edges) + 1, ""
        rank = bisect_right(edges, value)
        return rank, bucket_name(name, edges, rank)


def bucket_name(column: str, edges: tuple[float, ...], rank: int) -> str:
    """Returns what a bucket is called: `5-10` holds 5 and not 10, `30-` everything from 30 on."""
    if column in NAMES and edges == EDGES[column]:
        return NAMES[column][rank]
    low = f"{edges[rank - 1]:g}" if rank else "0" if edges[0] > 0 else ""
    high = f"{edges[rank]:g}" if rank < len(edges) else ""
    return f"{low}-{high}"


def _number(name: str, item: Scored) -> float | None:
    if name == "words":
        return item.words.ref
    if name == "cmi":
        return mixing_index(item.ref, item.hypothesis.lang)
    text = item.hypothesis.column(name)
    try:
        value = float(text) if text else math.nan
    except ValueError as error:
        raise ValueError(
            f"utterance {item.hypothesis.utt_id!r}: {name} is parted by edges, so it must be a number, "
            f"got {text!r}"
        ) from error
    return None if math.isnan(value) else value
