"""Statistics of an index, without reading audio: a table, JSON and one self-contained HTML page."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from maya_data.segments import EMPTY_TEXT, SegmentIndex

Floats = npt.NDArray[np.float64]
HISTOGRAM_BINS = 40


@dataclass(frozen=True)
class LangStats:
    """One language of an index."""

    lang: str
    segments: int
    hours: float
    speakers: int
    median_duration: float
    """Seconds."""
    p95_duration: float
    """Seconds; 95 of 100 segments are shorter."""
    chars_per_second: float
    """Characters of all transcripts over seconds of all audio."""
    empty_texts: int


@dataclass(frozen=True)
class Stats:
    """A whole index."""

    segments: int
    total_hours: float
    hours: dict[str, float]
    """Language -> hours."""
    langs: list[LangStats]
    corpora: dict[str, float]
    """Corpus -> hours."""
    domains: dict[str, float]
    """Domain -> hours."""
    sampling_rates: dict[str, int]
    """Rate -> segments."""
    durations: dict[str, list[float]]
    """Histogram: `edges` in seconds and `counts`."""
    chars_per_second: dict[str, list[float]]
    """Histogram: `edges` and `counts`."""
    dropped: dict[str, int]
    """Reason -> segments that the reader left out."""
    broken: dict[str, str]
    """Shard -> why it could not be read."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    def table(self) -> Table:
        """Return the languages as a table for the terminal."""
        table = Table(title=f"{self.segments:,} segments, {self.total_hours:,.2f} hours")
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if number else "left")
        for row in self._cells():
            table.add_row(*row)
        return table

    def to_html(self) -> str:
        """Return a page that opens without a network."""
        corpora = [(name or "(not named)", f"{hours:,.2f}") for name, hours in self.corpora.items()]
        broken = [(shard, reason) for shard, reason in self.broken.items()]
        parts = [
            f"<h1>Segment index</h1><p>{self.segments:,} segments, {self.total_hours:,.2f} hours</p>",
            _html_table(COLUMNS, self._cells()),
            "<h2>Duration (s)</h2>" + _bars(self.durations),
            "<h2>Characters a second</h2>" + _bars(self.chars_per_second),
            "<h2>Corpora</h2>" + _html_table(("corpus", "hours"), corpora),
            "<h2>Broken shards</h2>" + _html_table(("shard", "reason"), broken) if broken else "",
        ]
        return PAGE.format(body="\n".join(parts))

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.lang,
                f"{row.segments:,}",
                f"{row.hours:,.2f}",
                f"{row.speakers:,}",
                f"{row.median_duration:.2f}",
                f"{row.p95_duration:.2f}",
                f"{row.chars_per_second:.1f}",
                f"{row.empty_texts:,}",
            )
            for row in self.langs
        ]


COLUMNS = ("language", "segments", "hours", "speakers", "median s", "p95 s", "chars/s", "empty")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Segment index</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
rect {{ fill: #3b6ea5 }} text {{ font-size: 11px; fill: #555 }}
</style></head><body>
{body}
</body></html>
"""


def describe(index: SegmentIndex) -> Stats:
    """Return the statistics of `index`."""
    durations = np.asarray(index.durations, np.float64)
    characters = np.fromiter((len(text) for text, _ in index.texts()), np.float64, len(index))
    speeds = characters / np.maximum(durations, 1e-3)
    langs = [_lang(index, number, durations, characters) for number in range(len(index.langs))]
    rates = np.bincount(index.columns["sampling_rate"], minlength=1)
    return Stats(
        segments=len(index),
        total_hours=float(durations.sum() / 3600),
        hours={row.lang: row.hours for row in langs},
        langs=langs,
        corpora=_hours_by(index, "corpus", durations),
        domains=_hours_by(index, "domain", durations),
        sampling_rates={
            str(rate): int(n) for rate, n in zip(index.info["names"]["sampling_rate"], rates, strict=False)
        },
        durations=_histogram(durations),
        chars_per_second=_histogram(speeds),
        dropped=index.info["dropped"],
        broken=index.info["broken"],
    )


def _lang(index: SegmentIndex, number: int, durations: Floats, characters: Floats) -> LangStats:
    mine = np.asarray(index.lang_ids) == number
    seconds = durations[mine]
    return LangStats(
        lang=index.langs[number],
        segments=int(mine.sum()),
        hours=float(seconds.sum() / 3600),
        speakers=len(np.unique(np.asarray(index.columns["speaker"])[mine])),
        median_duration=float(np.median(seconds)),
        p95_duration=float(np.quantile(seconds, 0.95)),
        chars_per_second=float(characters[mine].sum() / max(seconds.sum(), 1e-3)),
        empty_texts=int((index.columns["flags"][mine] & EMPTY_TEXT).astype(bool).sum()),
    )


def _hours_by(index: SegmentIndex, column: str, durations: Floats) -> dict[str, float]:
    names = index.info["names"][column]
    hours = np.bincount(index.columns[column], durations, len(names)) / 3600
    return {name: float(value) for name, value in zip(names, hours, strict=True)}


def _histogram(values: Floats) -> dict[str, list[float]]:
    counts, edges = np.histogram(values, HISTOGRAM_BINS, (0.0, float(np.quantile(values, 0.999)) + 1e-6))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _bars(histogram: dict[str, list[float]]) -> str:
    """Return a histogram as SVG."""
    counts, edges = histogram["counts"], histogram["edges"]
    tallest, width = max([*counts, 1]), 800 / max(len(counts), 1)
    rects = (
        f'<rect x="{i * width:.1f}" y="{160 - 150 * n / tallest:.1f}" width="{width - 1:.1f}" '
        f'height="{150 * n / tallest:.1f}"><title>{edges[i]:.2f} to {edges[i + 1]:.2f}: {n:,}</title></rect>'
        for i, n in enumerate(counts)
    )
    labels = (
        f'<text x="{i * width:.1f}" y="175">{edges[i]:.1f}</text>'
        for i in range(0, len(counts), len(counts) // 8)
    )
    return f'<svg viewBox="0 0 800 180" width="100%">{"".join(rects)}{"".join(labels)}</svg>'


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table>"
