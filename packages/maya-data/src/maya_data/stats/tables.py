"""The statistics as tables for the terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from maya_data.audit.charset import PROBLEMS
from maya_data.stats.report import Stats

LANG_COLUMNS = (
    "lang",
    "segments",
    "hours",
    "trainable",
    "speakers",
    "mean s",
    "median s",
    "p95 s",
    "chars/s",
)
FLAG_COLUMNS = ("lang", "what is wrong", "segments", "part")
CORPUS_COLUMNS = ("corpus", "language", "segments", "hours")
BUCKET_COLUMNS = ("over s", "up to s", "segments", "hours", "batch", "padding")
CHARSET_COLUMNS = ("lang", "texts", "distinct", *(name.replace("_", " ") for name in PROBLEMS))
OVERLAP_COLUMNS = ("other index", "texts", "segments", "hours", "4+ words", "of the other")
FEW_CORPORA = 40


def tables(stats: Stats) -> Iterator[Table]:
    """Yield the tables that have rows, most wanted first."""
    yield _table(
        f"{stats.segments:,} segments, {hours(stats.total_hours)} hours", LANG_COLUMNS, lang_cells(stats)
    )
    if flagged := flag_cells(stats):
        yield _table("flagged", FLAG_COLUMNS, flagged, left=2)
    yield _table("corpora", CORPUS_COLUMNS, corpus_cells(stats)[:FEW_CORPORA])
    rates = [(f"{rate} Hz", f"{count:,}") for rate, count in stats.sampling_rates.items()]
    yield _table("sampling rates", ("rate", "segments"), rates)
    title = f"buckets of equal hours, batches of {stats.buckets.batch_duration:g} s: "
    yield _table(f"{title}{stats.buckets.padding:.1%} padding", BUCKET_COLUMNS, bucket_cells(stats), left=0)
    yield _charset_table(stats)
    yield _table("repeats", ("what", "number"), repeat_cells(stats))
    if stats.overlap:
        yield _table("texts of other indexes", OVERLAP_COLUMNS, overlap_cells(stats))
    if stats.dropped:
        yield _table(
            "left out", ("reason", "segments"), [(why, f"{n:,}") for why, n in stats.dropped.items()]
        )
    if stats.broken:
        yield _table("broken shards", ("shard", "reason"), list(stats.broken.items()), left=2)


def lang_cells(stats: Stats) -> list[tuple[str, ...]]:
    """Return one row a language."""
    return [
        (
            *(
                row.lang,
                f"{row.segments:,}",
                hours(row.hours),
                hours(row.trainable_hours),
                f"{row.speakers:,}",
            ),
            *(f"{row.mean_duration:.2f}", f"{row.median_duration:.2f}", f"{row.p95_duration:.2f}"),
            f"{row.chars_per_second:.1f}",
        )
        for row in stats.langs
    ]


def flag_cells(stats: Stats) -> list[tuple[str, ...]]:
    """Return one row a language and flag, where there are flagged segments."""
    return [
        (row.lang, name, f"{count:,}", f"{count / max(row.segments, 1):.2%}")
        for row in stats.langs
        for name, count in row.flags.items()
    ]


def corpus_cells(stats: Stats) -> list[tuple[str, ...]]:
    """Return one row a corpus and language."""
    return [
        (row.corpus or "(not named)", row.lang, f"{row.segments:,}", hours(row.hours))
        for row in stats.corpus_rows
    ]


def bucket_cells(stats: Stats) -> list[tuple[str, ...]]:
    """Return one row a bucket."""
    return [
        (
            *(f"{row.shortest:.2f}", f"{row.longest:.2f}", f"{row.segments:,}", hours(row.hours)),
            *(f"{row.batch_size:,}", f"{row.padding:.1%}"),
        )
        for row in stats.buckets.rows
    ]


def charset_cells(stats: Stats) -> list[tuple[str, ...]]:
    """Return one row a language."""
    return [
        (row.lang, f"{row.texts:,}", f"{row.distinct:,}", *(f"{getattr(row, name):,}" for name in PROBLEMS))
        for row in stats.charset
    ]


def repeat_cells(stats: Stats) -> list[tuple[str, str]]:
    """Return what the index holds more than once."""
    found = stats.repeats
    return [
        ("different texts", f"{found.texts:,}"),
        ("texts of two segments or more", f"{found.repeated_texts:,}"),
        ("segments beyond the first of their text", f"{found.segments:,}"),
        ("hours of those", hours(found.hours)),
        ("rows whose id is taken already", f"{found.ids:,}"),
    ]


def overlap_cells(stats: Stats) -> list[tuple[str, ...]]:
    """Return one row an index that was compared."""
    return [
        (
            *(row.index, f"{row.texts:,}", f"{row.segments:,}", hours(row.hours), f"{row.long_segments:,}"),
            f"{row.other_segments:,} ({row.other_share:.1%})",
        )
        for row in stats.overlap
    ]


def hours(value: float) -> str:
    """Return hours with as many decimals as they deserve."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"


def _charset_table(stats: Stats) -> Table:
    """Return the audit of characters; what no language has is no column."""
    cells = charset_cells(stats)
    shown = [
        place for place in range(len(CHARSET_COLUMNS)) if place < 3 or any(row[place] != "0" for row in cells)
    ]
    rows = [[row[place] for place in shown] for row in cells]
    head = [CHARSET_COLUMNS[place].replace(" ", "\n") for place in shown]
    return _table("characters: number of texts that have", head, rows)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> Table:
    """Return a table whose first `left` columns are text."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", vertical="bottom")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
