"""One self-contained HTML page about a run: opens offline, in light or dark, on a phone or on paper."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from maya_eval.hypotheses import Hypothesis
from maya_eval.normalize import profile as find_profile
from maya_eval.report import (
    beside,
    browser,
    figures,
    leaderboard,
    scatter,
    score_tables,
    substitutions,
    utterances,
)
from maya_eval.report.markup import section, tag, text
from maya_eval.report.rows import gather
from maya_eval.report.scored_run import ScoredRun, conditions, speed
from maya_eval.report.sound import MOST_EMBEDDED, choose_sound
from maya_eval.scores import HEADLINE, count
from maya_eval.summary import Summary, benchmarks_of, head_order, parse_summary

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; media-src data: file: 'self'"
)
"""Nothing is fetched from anywhere, whatever a page may come to hold."""


@dataclass(kw_only=True)
class Page:
    """What a page is made of besides its hypotheses."""

    title: str = "Maya ASR"
    statement: str = ""
    """One sentence on what the scores do and do not show."""
    samples: Mapping[str, Path] = field(default_factory=dict)
    """One sound file (wav) a language, embedded."""
    sample_ids: Mapping[str, str] = field(default_factory=dict)
    """`utt_id` of each sample, so that its texts stand beside it."""
    sound: Mapping[str, Path] = field(default_factory=dict)
    """Sound files by utterance id; the worst are embedded."""
    embed: int = MOST_EMBEDDED
    """Utterances to embed at most; together they stay under 30 MB."""
    folder: Path | None = None
    """Where the page will lie, so that sound files can be linked; None links none."""


def render(
    summary: Mapping[str, Any] | None,
    hyps: Mapping[str, Sequence[Hypothesis]] | None = None,
    samples: Mapping[str, Path] | None = None,
    *,
    sample_ids: Mapping[str, str] | None = None,
    title: str = "Maya ASR",
    statement: str = "",
    profile: str = HEADLINE,
) -> str:
    """Returns the page.

    Args:
        summary: a parsed `summary.json`; None makes it from `hyps`.
        hyps: test hypotheses by system; intervals, voices, errors and the browser are made from them.
        samples: one sound file (wav) a language, embedded.
        sample_ids: `utt_id` of each sample, so that its texts stand beside it.
        title: heading of the page.
        statement: one sentence on what the scores do and do not show.
        profile: normalisation of what is counted from `hyps`.
    """
    page = Page(title=title, statement=statement, samples=samples or {}, sample_ids=sample_ids or {})
    scored = {head: count((hyps or {})[head], profile) for head in head_order(hyps or {})}
    return render_page(ScoredRun(scored, profile), page, summary)


def render_page(run: ScoredRun, page: Page, summary: Mapping[str, Any] | None = None) -> str:
    """Returns the page of utterances that are counted already, with everything that may be set.

    Args:
        run: utterances by system.
        page: what else the page is made of.
        summary: a parsed `summary.json`; None makes it from `run`.
    """
    summary = run.summary if summary is None else summary
    names = benchmarks_of(summary)
    parsed = [parse_summary(summary, name) for name in names] or [parse_summary(summary)]
    grouped = utterances.group_utterances(run.scored)
    shown = gather(run.scored)
    sound = choose_sound(shown, page.sound, most=page.embed, folder=page.folder)
    langs = sorted({lang for one in parsed for lang in one.langs})
    body = [
        _header(page),
        *(_board(one, run, "" if i == 0 else f"-{i + 1}") for i, one in enumerate(parsed)),
        leaderboard.elsewhere(langs, names),
        utterances.samples(page.samples, page.sample_ids, grouped, list(run.scored)),
        score_tables.by_voice(run.scored),
        substitutions.error_tables(run.scored),
        browser.utterance_browser(shown, sound),
        figures.time_by_stage(parsed[0]),
        _origin(parsed[0], run.profile),
    ]
    return _document(page.title, "".join(body))


def sample_folder(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Returns `<lang>.wav` of a folder by language, and the utterance ids of its `ids.json` if it has one."""
    ids = folder / "ids.json"
    wavs = {path.stem: path for path in sorted(folder.glob("*.wav"))}
    return wavs, json.loads(ids.read_text(encoding="utf-8")) if ids.exists() else {}


def _header(page: Page) -> str:
    return tag(
        "header", tag("h1", text(page.title)) + (tag("p", text(page.statement)) if page.statement else "")
    )


def _board(summary: Summary, run: ScoredRun, suffix: str) -> str:
    """Returns everything that is counted on one benchmark; `suffix` keeps the ids of sections apart."""
    rows = run.rows.get(summary.benchmark, {})
    lines = {head: [item.hypothesis for item in items] for head, items in run.on(summary.benchmark).items()}
    speeds = {head: speed(found) for head, found in lines.items()}
    rtfx = {head: found.rtfx for head, found in speeds.items() if found.rtfx}
    rtfx |= {head: 1 / rtf for head, rtf in summary.rtf.items() if rtf and head not in rtfx}
    entries = leaderboard.entries(summary, rtfx)
    compared = [line for line in entries if line.source or line.profile == summary.profile]
    measured = {head: conditions(found) for head, found in speeds.items()}
    return (
        score_tables.headline(summary)
        + leaderboard.board(summary, rtfx, f"board{suffix}")
        + score_tables.by_language(summary, f"scores{suffix}")
        + figures.bars(summary, rows, f"bars{suffix}")
        + scatter.accuracy_against_speed(compared, summary.langs, measured, f"speed{suffix}")
        + beside.beside_wer(rows, f"beside{suffix}")
    )


def _origin(summary: Summary, profile: str) -> str:
    chosen = find_profile(profile)
    rows = {"scoring profile": f"{chosen.name}, version {chosen.version}: {chosen.description}"}
    rows |= summary.versions
    lines = "".join(
        tag("div", tag("dt", text(name)) + tag("dd", text(value))) for name, value in rows.items()
    )
    return section("versions", "Made with", tag("dl", lines))


def _document(title: str, body: str) -> str:
    css = files("maya_eval.report").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title><style>{css}</style>'
    )
    main = tag("main", body) + browser.script()
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{main}</body></html>\n'
