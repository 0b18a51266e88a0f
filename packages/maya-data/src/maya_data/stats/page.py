"""The statistics as one HTML page that opens without a network."""

import html
from importlib.resources import files

from maya_data.stats import plots, tables
from maya_data.stats.markup import details, section, table
from maya_data.stats.page_texts import characters, overlaps, repeats
from maya_data.stats.report import Stats

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Segment index</title><style>{style}</style></head><body><main>
{body}
</main></body></html>
"""


def page(stats: Stats) -> str:
    """Return the page."""
    style = files("maya_data.stats").joinpath("page.css").read_text("utf-8")
    sections = (
        *(_head(stats), _languages(stats), _durations(stats), _speeds(stats), _buckets(stats)),
        *(_origins(stats), _speakers(stats), characters(stats), repeats(stats)),
        *(overlaps(stats), _left_out(stats)),
    )
    return PAGE.format(style=style, body="\n".join(sections))


def _head(stats: Stats) -> str:
    cards = (
        (tables.hours(stats.total_hours), "hours"),
        (f"{stats.segments:,}", "segments"),
        (f"{len(stats.langs):,}", "languages"),
        (f"{len(stats.corpora):,}", "corpora"),
        (f"{stats.speakers.named:,}", "named speakers"),
        (f"{stats.trainable_hours / max(stats.total_hours, 1e-9):.2%}", "of the hours trainable"),
    )
    drawn = "".join(f'<div class="card"><b>{value}</b><span>{name}</span></div>' for value, name in cards)
    named = f"{stats.path}, fingerprint {stats.fingerprint}, text profile {stats.text_profile}"
    return f'<h1>Segment index</h1><p class="quiet">{html.escape(named)}</p><div class="cards">{drawn}</div>'


def _languages(stats: Stats) -> str:
    colours = _colours(stats)
    rows = [
        (
            lang.lang,
            [
                plots.Part(
                    row.hours,
                    colours[row.corpus],
                    f"{row.corpus or '(not named)'}: {tables.hours(row.hours)} h",
                )
                for row in sorted(stats.corpus_rows, key=lambda row: colours[row.corpus])
                if row.lang == lang.lang
            ],
            f"{tables.hours(lang.hours)} h",
        )
        for lang in sorted(stats.langs, key=lambda lang: -lang.hours)
    ]
    names = [(name or "(not named)", colour) for name, colour in colours.items() if colour < plots.HUES - 1]
    if len(colours) > len(names):
        names.append((f"{len(colours) - len(names)} more", plots.HUES - 1))
    legend = "".join(f'<span><i class="c{colour}"></i>{html.escape(name)}</span>' for name, colour in names)
    drawn = f'<div class="panel">{plots.stacked(rows)}<div class="legend">{legend}</div></div>'
    drawn += table(tables.LANG_COLUMNS, tables.lang_cells(stats))
    if flagged := tables.flag_cells(stats):
        drawn += details("Flagged segments", table(tables.FLAG_COLUMNS, flagged, left=2))
    return section("Hours by language and corpus", drawn)


def _colours(stats: Stats) -> dict[str, int]:
    """Return the colour of each corpus, the largest first."""
    largest = sorted(stats.corpora, key=lambda name: -stats.corpora[name])
    return {name: min(place, plots.HUES - 1) for place, name in enumerate(largest)}


def _durations(stats: Stats) -> str:
    found = stats.durations
    drawn = f'<div class="panel">{plots.histogram(found.edges, found.counts, "seconds")}</div>'
    small = (
        _small(
            row.lang,
            f"median {row.median_duration:.1f} s",
            plots.histogram(found.edges, row.durations, "", small=True),
        )
        for row in stats.langs
    )
    return section("Duration of segments", f'{drawn}<div class="many">{"".join(small)}</div>')


def _speeds(stats: Stats) -> str:
    found = stats.chars_per_second
    drawn = f'<div class="panel">{plots.histogram(found.edges, found.counts, "characters a second")}</div>'
    small = (
        _small(
            row.lang,
            f"{row.chars_per_second:.1f} a second",
            plots.histogram(found.edges, row.speeds, "", small=True),
        )
        for row in stats.langs
    )
    note = "Far too many characters for the audio mean a wrong transcript; far too few, missing words."
    body = f'{drawn}<div class="many">{"".join(small)}</div><p class="note">{note}</p>'
    return section("Characters a second", body)


def _small(name: str, note: str, drawn: str) -> str:
    caption = f"<figcaption>{html.escape(name)} <span>{html.escape(note)}</span></figcaption>"
    return f'<figure class="panel">{caption}{drawn}</figure>'


def _buckets(stats: Stats) -> str:
    rows = stats.buckets.rows
    if not rows:
        return section("Buckets", '<p class="quiet">No segment can be trained on.</p>')
    edges = [rows[0].shortest, *(row.longest for row in rows)]
    titles = [
        f"up to {row.longest:.2f} s: {row.segments:,} segments, {row.padding:.1%} padding" for row in rows
    ]
    drawn = plots.steps(edges, [row.padding for row in rows], titles, "seconds")
    note = (
        f"{len(rows)} buckets of equal hours, batches of {stats.buckets.batch_duration:g} s: "
        f"{stats.buckets.padding:.1%} of all batches is padding. `maya-data bins` shows those of a plan."
    )
    cells = table(tables.BUCKET_COLUMNS, tables.bucket_cells(stats), left=0)
    more = details("The buckets as a table", cells)
    return section("Padding by bucket", f'<div class="panel">{drawn}<p class="note">{note}</p></div>{more}')


def _origins(stats: Stats) -> str:
    corpora = [(name or "(not named)", tables.hours(value)) for name, value in stats.corpora.items()]
    rates = [
        (f"{rate} Hz", f"{count:,}", f"{count / max(stats.segments, 1):.1%}")
        for rate, count in stats.sampling_rates.items()
    ]
    domains = [(name or "(not named)", tables.hours(value)) for name, value in stats.domains.items()]
    side = (
        table(("corpus", "hours"), corpora),
        table(("sampling rate", "segments", "part"), rates),
        table(("domain", "hours"), domains),
    )
    more = table(tables.CORPUS_COLUMNS, tables.corpus_cells(stats), left=2)
    body = "".join(f"<div>{one}</div>" for one in side)
    return section(
        "Corpora, sampling rates, domains",
        f'<div class="side">{body}</div>{details("Corpora by language", more)}',
    )


def _speakers(stats: Stats) -> str:
    found = stats.speakers
    rows = [(row["speaker"], f"{row['segments']:,}", tables.hours(row["hours"])) for row in found.most]
    note = f"{found.named:,} names, {found.median_hours * 60:,.1f} minutes in the median; "
    note += f"{found.unnamed_segments:,} segments name nobody."
    most = details("Speakers with most hours", table(("speaker", "segments", "hours"), rows)) if rows else ""
    return section("Speakers", f'<p class="quiet">{note}</p>{most}')


def _left_out(stats: Stats) -> str:
    dropped = [(reason, f"{count:,}") for reason, count in stats.dropped.items()]
    parts = [table(("left out because", "segments"), dropped)] if dropped else []
    if stats.broken:
        parts.append(table(("shard", "what is broken"), list(stats.broken.items()), left=2))
    return section("What the index leaves out", "".join(parts)) if parts else ""
