"""One self-contained HTML page about a run: opens offline, in light or dark, on a phone or on paper."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from maya_eval.hypotheses import Hypothesis
from maya_eval.normalize import profile as find_profile
from maya_eval.report import figures, score_tables, utterances
from maya_eval.report.markup import section, tag, text
from maya_eval.scores import HEADLINE, count, rows_by
from maya_eval.summary import HEAD_ORDER, Summary, parse_summary

WORST = 4
"""Utterances shown a language."""


def render(
    summary: Mapping[str, Any],
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
        summary: a parsed `summary.json`.
        hyps: test hypotheses by head; intervals, voices and aligned utterances are made from them.
        samples: one sound file (wav) a language, embedded.
        sample_ids: `utt_id` of each sample, so that its texts stand beside it.
        title: heading of the page.
        statement: one sentence on what the scores do and do not show.
        profile: normalisation of what is counted from `hyps`.
    """
    parsed = parse_summary(summary)
    hyps = hyps or {}
    heads = [h for h in HEAD_ORDER if h in hyps] + [h for h in hyps if h not in HEAD_ORDER]
    scored = {head: count(hyps[head], profile) for head in heads}
    grouped = utterances.group_utterances(scored)
    body = [
        _header(title, statement),
        score_tables.headline(parsed),
        score_tables.by_language(parsed),
        figures.bars(parsed, {head: rows_by(items, profile) for head, items in scored.items()}),
        utterances.samples(samples or {}, sample_ids or {}, grouped, heads),
        score_tables.by_voice(scored, profile),
        utterances.hardest(grouped, heads, WORST),
        figures.time_by_stage(parsed),
        _origin(parsed, profile),
    ]
    return _page(title, "".join(body))


def sample_folder(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Returns `<lang>.wav` of a folder by language, and the utterance ids of its `ids.json` if it has one."""
    ids = folder / "ids.json"
    wavs = {path.stem: path for path in sorted(folder.glob("*.wav"))}
    return wavs, json.loads(ids.read_text(encoding="utf-8")) if ids.exists() else {}


def _header(title: str, statement: str) -> str:
    return tag("header", tag("h1", text(title)) + (tag("p", text(statement)) if statement else ""))


def _origin(summary: Summary, profile: str) -> str:
    chosen = find_profile(profile)
    rows = {"scoring profile": f"{chosen.name}: {chosen.description}", **summary.versions}
    lines = "".join(
        tag("div", tag("dt", text(name)) + tag("dd", text(value))) for name, value in rows.items()
    )
    return section("versions", "Made with", tag("dl", lines))


def _page(title: str, body: str) -> str:
    css = files("maya_eval.report").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title><style>{css}</style>'
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'
