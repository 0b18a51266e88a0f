"""Who is best: a row a system, ours and published ones, a column a language, and the mean of just those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maya_eval.languages import english_name, own_name
from maya_eval.report.markup import head_color, head_label, note, rate_cell, section, tag, text
from maya_eval.report.published import (
    Published,
    benchmarks_with,
    is_one_of,
    on_benchmark,
    published_speeds,
)
from maya_eval.summary import Summary, percent


@dataclass(frozen=True)
class Entry:
    """One line of the board."""

    system: str
    profile: str
    wer: Mapping[str, float | None]
    """By language, fractions."""
    rtfx: float | None = None
    color: str = ""
    """Of a system of ours; empty for a published one."""
    source: str = ""
    """Of published figures, for the reader who points at the name."""

    def mean(self, langs: Sequence[str]) -> float | None:
        """Returns the plain mean over `langs`; None unless every one of them has a rate."""
        rates = [rate for lang in langs if (rate := self.wer.get(lang)) is not None]
        return sum(rates) / len(rates) if rates and len(rates) == len(langs) else None


def entries(summary: Summary, rtfx: Mapping[str, float]) -> list[Entry]:
    """Returns the lines of a benchmark, the best mean first, incomplete ones last."""
    lines = [
        Entry(
            head,
            summary.profile,
            {lang: cell.wer for lang in summary.langs if (cell := summary.cell(head, lang))},
            rtfx.get(head),
            head_color(i),
        )
        for i, head in enumerate(summary.heads)
    ]
    for profile, cells in summary.others.items():
        lines += [
            Entry(
                head,
                profile,
                {lang: cell.wer for lang in summary.langs if (cell := cells.get((head, lang)))},
                rtfx.get(head),
                head_color(i),
            )
            for i, head in enumerate(summary.heads)
            if any(key[0] == head for key in cells)
        ]
    if summary.benchmark:
        speeds = published_speeds(summary.benchmark)
        for system, by_lang in on_benchmark(summary.benchmark).items():
            if any(lang in by_lang for lang in summary.langs):
                lines.append(_published(system, by_lang, summary.langs, speeds.get(system)))
    return sorted(lines, key=lambda line: _rank(line, summary.langs))


def _published(
    system: str, by_lang: Mapping[str, Published], langs: Sequence[str], speed: Published | None = None
) -> Entry:
    chosen = [item for lang, item in by_lang.items() if lang in langs]
    profiles = {item.profile for item in chosen}
    facts = dict.fromkeys(
        f"{item.source} ({item.verification})" + (f": {item.note}" if item.note else "")
        for item in (*chosen, *([speed] if speed else ()))
    )
    return Entry(
        system,
        profiles.pop() if len(profiles) == 1 else "",
        {lang: by_lang[lang].value / 100 for lang in langs if lang in by_lang},
        speed.value if speed else None,
        source="\n".join(facts),
    )


def _rank(line: Entry, langs: Sequence[str]) -> tuple[bool, float]:
    mean = line.mean(langs)
    rates = [rate for rate in line.wer.values() if rate is not None]
    return mean is None, mean if mean is not None else sum(rates) / max(1, len(rates))


def board(summary: Summary, rtfx: Mapping[str, float], anchor: str) -> str:
    """Returns the leaderboard of one benchmark."""
    lines = entries(summary, rtfx)
    profiles = list(dict.fromkeys(line.profile for line in lines))
    table = _table(lines, summary.langs, profiles, bool(rtfx))
    shown = [line.profile for line in lines if line.profile]
    published = any(line.source for line in lines)
    facts = ["WER in per cent" + (f", profile {summary.profile}." if len(profiles) == 1 and shown else ".")]
    if len(summary.langs) > 1:
        facts.append(f"The mean is of the {len(summary.langs)} languages in its row.")
    if rtfx:
        facts.append("RTFx: seconds of audio a second of work, more is faster.")
        if any(line.source and line.rtfx for line in lines):
            facts.append("Published RTFx was measured on other hardware.")
    if published:
        facts.append("A figure of another profile, or of an unknown one, is not comparable word for word.")
    elif shown or summary.benchmark:
        facts.append("No published result is known to us for these recordings.")
    title = f"Leaderboard: {summary.benchmark}" if summary.benchmark else "Leaderboard"
    return section(anchor, title, tag("div", table, class_="scroll"), note(" ".join(facts)), _sources(lines))


def _sources(lines: Sequence[Entry]) -> str:
    """Returns where published figures come from, folded away."""
    said = [tag("dt", text(line.system)) + tag("dd", text(line.source)) for line in lines if line.source]
    if not said:
        return ""
    items = tag("dl", "".join(tag("div", item) for item in said), class_="sources")
    title = tag("summary", tag("span", "Sources of the published figures", class_="note"))
    return tag("details", title + items)


def _table(lines: Sequence[Entry], langs: Sequence[str], profiles: Sequence[str], speed: bool) -> str:
    several = len(profiles) > 1
    heads = [tag("th", "System", scope="col", class_="name")]
    heads += [tag("th", "Profile", scope="col", class_="name")] if several else []
    heads += [tag("th", _short(lang), scope="col", title=english_name(lang)) for lang in langs]
    heads += [tag("th", f"Mean of {len(langs)}", scope="col")] if len(langs) > 1 else []
    heads += [tag("th", "RTFx", scope="col")] if speed else []
    body = "".join(_line(line, langs, several, speed) for line in lines)
    return tag("table", tag("thead", tag("tr", "".join(heads))) + tag("tbody", body), class_="board sortable")


def _short(lang: str) -> str:
    own = tag("span", text(own_name(lang)), lang=lang, class_="own")
    return tag("span", own + tag("span", text(lang), class_="quiet"), class_="short")


def _line(line: Entry, langs: Sequence[str], several: bool, speed: bool) -> str:
    ours = not line.source
    label = tag(
        "span", text(head_label(line.system)), class_="head" if ours else "other", style=f"--c:{line.color}"
    )
    if not ours:
        label += " " + tag("span", "published", class_="badge")
    cells = tag("th", label, scope="row", class_="name", title=line.source)
    cells += tag("td", text(line.profile or "not known"), class_="profile") if several else ""
    cells += "".join(rate_cell(line.wer.get(lang)) for lang in langs)
    if len(langs) > 1:
        cells += rate_cell(line.mean(langs), class_="mean")
    if speed:
        shown = "-" if line.rtfx is None else f"{line.rtfx:.1f}"
        cells += tag("td", shown, class_="count", data_v=line.rtfx)
    return tag("tr", cells, class_="ours" if ours else "published")


def elsewhere(langs: Sequence[str], shown: Sequence[str]) -> str:
    """Returns published results on other benchmarks in these languages, folded away.

    Args:
        langs: languages of the page.
        shown: benchmarks that the page scores itself; they are left out.
    """
    names = [name for name in benchmarks_with(langs) if not is_one_of(name, shown)]
    folds = "".join(_fold(name, [lang for lang in langs if _has(name, lang)]) for name in names)
    if not folds:
        return ""
    warning = (
        "Other recordings and other recipes: for orientation only, not to be set beside the figures above."
    )
    title = tag(
        "summary", tag("span", "Published results on public benchmarks") + _quiet(f"{len(names)} sets")
    )
    return tag("details", title + note(warning) + folds, class_="published")


def _has(benchmark: str, lang: str) -> bool:
    return any(lang in by_lang for by_lang in on_benchmark(benchmark).values())


def _fold(benchmark: str, langs: Sequence[str]) -> str:
    lines = [
        _published(system, by_lang, langs)
        for system, by_lang in on_benchmark(benchmark).items()
        if any(lang in by_lang for lang in langs)
    ]
    lines.sort(key=lambda line: _rank(line, langs))
    table = _table(lines, langs, [line.profile for line in lines[:1]], speed=False)
    best = min((rate for line in lines for rate in line.wer.values() if rate is not None), default=None)
    said = f"{len(lines)} {'system' if len(lines) == 1 else 'systems'}, lowest WER {percent(best)} %"
    title = tag("summary", tag("span", text(benchmark)) + _quiet(said))
    return tag("details", title + tag("div", table, class_="scroll") + _sources(lines))


def _quiet(value: str) -> str:
    return tag("span", text(value), class_="quiet")
