"""What the statistics of an index are; every part is plain values once it goes through `Stats.to_dict`."""

from dataclasses import asdict, dataclass
from typing import Any

from maya_data.audit import CharsetRow, Overlap, Repeats


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between edges; what lies beyond the last edge is in the last count."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class LangStats:
    """One language."""

    lang: str
    segments: int
    hours: float
    trainable_hours: float
    """Hours of segments that nothing forbids to train on."""
    speakers: int
    """Named speakers; the same name in two corpora is two speakers."""
    mean_duration: float
    """Seconds."""
    median_duration: float
    """Seconds, to 0.01."""
    p95_duration: float
    """Seconds, to 0.01; 95 of 100 segments are no longer."""
    chars_per_second: float
    """Characters of all transcripts over seconds of all audio."""
    flags: dict[str, int]
    """What is wrong -> segments: empty transcript, bad duration, unknown language, wrong script."""
    durations: list[int]
    """Counts between the edges of `Stats.durations`."""
    speeds: list[int]
    """Counts between the edges of `Stats.chars_per_second`."""


@dataclass(frozen=True, kw_only=True)
class CorpusRow:
    """One corpus in one language."""

    corpus: str
    lang: str
    segments: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class Speakers:
    """Who speaks, by name."""

    named: int
    """Different names."""
    unnamed_segments: int
    """Segments without a speaker."""
    median_hours: float
    """Hours of the speaker in the middle."""
    most: list[dict[str, Any]]
    """The speakers with most hours: `speaker`, `segments`, `hours`."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Trainable segments of like duration, which share batches."""

    shortest: float
    """Seconds; every segment is longer, but for those of the first bucket."""
    longest: float
    """Seconds; no segment is longer."""
    segments: int
    hours: float
    batch_size: int
    """Segments of the longest duration that fit into a batch."""
    padding: float
    """Part of a batch that is expected to be padding."""


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """Buckets that hold equal hours."""

    batch_duration: float
    """Seconds of audio in a batch."""
    padding: float
    """Part of all batches that is expected to be padding."""
    rows: list[Bucket]


@dataclass(frozen=True, kw_only=True)
class Stats:
    """A whole index."""

    path: str
    fingerprint: str
    text_profile: str
    segments: int
    total_hours: float
    trainable_hours: float
    hours: dict[str, float]
    """Language -> hours."""
    langs: list[LangStats]
    corpora: dict[str, float]
    """Corpus -> hours."""
    corpus_rows: list[CorpusRow]
    domains: dict[str, float]
    """Domain -> hours."""
    sampling_rates: dict[str, int]
    """Rate in Hz -> segments."""
    speakers: Speakers
    durations: Histogram
    """Seconds."""
    chars_per_second: Histogram
    buckets: Buckets
    charset: list[CharsetRow]
    repeats: Repeats
    overlap: list[Overlap]
    """One row an index that this one was compared with."""
    dropped: dict[str, int]
    """Reason -> segments that the readers left out."""
    broken: dict[str, str]
    """Shard -> why it could not be read."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)
