"""The HTML that the page shows: words with their confidence, and the times of the stages."""

import html
from collections.abc import Mapping, Sequence

from maya_bridge.serving.metrics import STAGES
from maya_bridge.serving.responses import segments
from maya_bridge.serving.service import Transcript
from maya_bridge.special_rows import LANG_NAMES
from maya_encoder.hypothesis import Word

NAMES = {**LANG_NAMES, "ur": "Urdu"}
LABELS = {
    "receive": "receive",
    "read": "read the audio",
    "wait": "wait for a batch",
    "decode": "model",
    "write": "write",
}
UNSURE = 0.5
"""Confidence below which a word is also marked by its underline."""
LEGEND = "".join(f'<span class="maya-word" style="--sure:{sure}">{sure:.0%}</span> ' for sure in (0, 0.5, 1))


def languages(codes: Sequence[str]) -> list[tuple[str, str]]:
    """Return (what is shown, code) of each language, sorted by what is shown."""
    return sorted((f"{NAMES.get(code, code)} ({code})", code) for code in codes)


def words_html(transcript: Transcript) -> str:
    """Return a transcript's text, each word a button that plays from it, a paragraph a segment."""
    paragraphs = [
        "<p>" + (" ".join(map(_word, one.words)) or html.escape(one.text)) + "</p>"
        for one, _ in segments(transcript)
    ]
    lang = html.escape(transcript.lang, quote=True)
    body = "".join(paragraphs) or '<p class="maya-hint">Nothing is said in this audio.</p>'
    legend = f'<p class="maya-legend">how sure the model is: {LEGEND}</p>' if transcript.words else ""
    name = html.escape(NAMES.get(transcript.lang, transcript.lang))
    return f'<div class="maya-text" lang="{lang}" dir="auto">{body}</div><p>{name}</p>{legend}'


def _word(word: Word) -> str:
    told = f"{word.confidence:.0%} sure, {word.start:.2f} to {word.end:.2f} s: play from here"
    unsure = " maya-unsure" if word.confidence < UNSURE else ""
    return (
        f'<span class="maya-word{unsure}" role="button" tabindex="0" style="--sure:{word.confidence:.3f}" '
        f'data-start="{word.start:.3f}" data-end="{word.end:.3f}" title="{told}">'
        f"{html.escape(word.text)}</span>"
    )


def timings_html(seconds: Mapping[str, float], current: str | None = None, duration: float = 0.0) -> str:
    """Return a table of the stages; the running one is marked, and a finished one may have a speed below."""
    total = sum(seconds.values())
    rows = "".join(
        f'<tr class="{"maya-now" if stage == current else ""}"><th>{LABELS[stage]}</th>'
        f'<td><meter max="{max(total, 0.001):.4f}" value="{seconds.get(stage, 0.0):.4f}"></meter></td>'
        f"<td>{_milliseconds(seconds.get(stage))}</td></tr>"
        for stage in STAGES
    )
    speed = f", {duration:.1f} s of audio: {duration / total:.1f} times as fast" if duration and total else ""
    sums = f"<p>{_milliseconds(total)} in all{speed}</p>" if total else ""
    return f'<table class="maya-stages">{rows}</table>{sums}'


def error_html(message: str) -> str:
    """Return what went wrong."""
    return f'<p class="maya-error" role="alert">{html.escape(message)}</p>'


def plain_page(line: str) -> str:
    """Return a whole page of one line and where the API is."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Maya ASR</title>'
        f"<p>{html.escape(line)}</p><p>The API is at <code>POST /v1/audio/transcriptions</code>, "
        "its state at <code>/health</code> and <code>/metrics</code>.</p></html>"
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"
