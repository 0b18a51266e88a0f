"""What verification finds, and how findings about one damage become one sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from maya_data.indexing.segments import SegmentIndex


class Finding(NamedTuple):
    """One thing that is wrong."""

    row: int | None
    """Row of the index, or None where it is a whole shard or a segment that the index does not have."""
    id: str
    """Of the segment; empty where it is a whole shard."""
    shard: str
    error: str
    """A sentence that names the shard, and the segment with its row."""
    checksum: bool = False
    """Only the checksum of the whole shard differs: a damaged segment in it says the same, and more."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The result of a verification."""

    segments: int
    """Rows of the index."""
    level: int
    bad: list[Finding]
    """In the order of the rows, then what is about whole shards."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        bad = [{"id": bad.id, "shard": bad.shard, "row": bad.row, "error": bad.error} for bad in self.bad]
        return {"segments": self.segments, "level": self.level, "bad": bad}


def of_row(index: SegmentIndex, row: int, errors: Sequence[str]) -> Finding:
    """Return what is wrong with a row; `errors` go on after the segment's name."""
    name, shard = index.string("id", row), index.name("shard", row)
    return Finding(row, name, shard, f"{shard}: segment {name} (row {row}) {'; it '.join(errors)}")


def of_shard(shard: str, error: str, name: str = "", *, checksum: bool = False) -> Finding:
    """Return what is wrong with a shard or its segment `name`; `error` goes on after the shard's name."""
    return Finding(None, name, shard, f"{shard}: {error}", checksum)


def settle(found: Iterable[Finding]) -> list[Finding]:
    """Return one finding a row, in order; a shard's checksum is left out where a row says what is damaged."""
    rows: dict[int, list[Finding]] = {}
    shards = []
    for finding in found:
        if finding.row is None:
            shards.append(finding)
        else:
            rows.setdefault(finding.row, []).append(finding)
    named = {findings[0].shard for findings in rows.values()}
    whole = [finding for finding in shards if not (finding.checksum and finding.shard in named)]
    return [_joined(rows[row]) for row in sorted(rows)] + sorted(
        set(whole), key=lambda f: (f.shard, f.id, f.error)
    )


def _joined(findings: Sequence[Finding]) -> Finding:
    """Join what several checks say of one row; each sentence begins with its name."""
    first = findings[0]
    start = f"{first.shard}: segment {first.id} (row {first.row}) "
    rest = [finding.error.removeprefix(start) for finding in findings[1:]]
    return first._replace(error="; it ".join([first.error, *rest]))
