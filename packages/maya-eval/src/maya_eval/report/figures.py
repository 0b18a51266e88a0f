"""The drawings of the page, as inline SVG: bars by language with intervals, and where the time went."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from maya_eval.languages import english_name, own_name
from maya_eval.report.markup import head_color, head_label, note, section, tag, text
from maya_eval.scores import ScoreRow
from maya_eval.summary import Summary, clock

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 1000, 320, 44, 14, 46


class _Frame(NamedTuple):
    """Where values lie on the canvas."""

    top: float  # rate at the upper edge
    slot: float  # width of a language

    def y(self, rate: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(rate, self.top) / self.top)


def bars(summary: Summary, intervals: Mapping[str, Sequence[ScoreRow]], anchor: str = "bars") -> str:
    """Returns grouped WER bars, a group a language and a bar a head.

    Args:
        summary: the rates.
        intervals: score rows by head, for the whiskers; may be empty.
        anchor: id of the section.
    """
    rates = [c.wer for h in summary.heads for lang in summary.langs if (c := summary.cell(h, lang)) and c.wer]
    highs = [row.wer_high or 0.0 for rows in intervals.values() for row in rows]
    top = max(0.1, math.ceil(10 * min(1.2, max([*rates, *highs], default=0.1))) / 10)
    frame = _Frame(top, (WIDTH - LEFT) / len(summary.langs))
    ranges = {(head, row.group): row for head, rows in intervals.items() for row in rows}
    drawing = _grid(frame) + "".join(_group(summary, i, frame, ranges) for i in range(len(summary.langs)))
    svg = tag(
        "svg", drawing, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label="WER by language and head"
    )
    legend = "".join(
        tag("span", text(head_label(head)), class_="key", style=f"--c:{head_color(i)}")
        for i, head in enumerate(summary.heads)
    )
    whiskers = (
        " Whiskers: 95 % bootstrap interval, voices drawn together where they are known." if highs else ""
    )
    return section(
        anchor,
        "Word error rate",
        tag("div", legend, class_="legend"),
        tag("div", svg, class_="scroll chart"),
        note(f"Per cent of words, lower is better.{whiskers}"),
    )


def _grid(frame: _Frame) -> str:
    step = 0.1 if frame.top <= 0.6 else 0.2
    lines = ""
    for i in range(round(frame.top / step) + 1):
        y = frame.y(i * step)
        lines += f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        lines += (
            f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * i * step:.0f}</text>'
        )
    return lines


def _group(summary: Summary, position: int, frame: _Frame, ranges: Mapping[tuple[str, str], ScoreRow]) -> str:
    lang = summary.langs[position]
    start = LEFT + frame.slot * position
    width = min(22.0, frame.slot * 0.8 / len(summary.heads))
    first = start + (frame.slot - width * len(summary.heads)) / 2
    marks = ""
    for i, head in enumerate(summary.heads):
        cell = summary.cell(head, lang)
        if cell is not None and cell.wer is not None:
            tip = f"{english_name(lang)}, {head_label(head)}: {100 * cell.wer:.1f} %"
            marks += _bar(first + width * i, width, cell.wer, frame, (head_color(i), tip))
            marks += _whisker(first + width * (i + 0.5), ranges.get((head, lang)), frame)
    middle = f'x="{start + frame.slot / 2:.1f}" text-anchor="middle"'
    marks += (
        f'<text class="label" {middle} y="{HEIGHT - 26}" lang="{text(lang)}">{text(own_name(lang))}</text>'
    )
    english = english_name(lang) if english_name(lang) != own_name(lang) else lang
    return marks + f'<text class="axis" {middle} y="{HEIGHT - 8}">{text(english)}</text>'


def _bar(x: float, width: float, rate: float, frame: _Frame, look: tuple[str, str]) -> str:
    color, tip = look
    y, floor = frame.y(rate), frame.y(0)
    box = f'x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{max(0.5, floor - y):.1f}" rx="2"'
    return f'<rect {box} style="fill:{color}"><title>{text(tip)}</title></rect>'


def _whisker(x: float, row: ScoreRow | None, frame: _Frame) -> str:
    if row is None or row.wer_low is None or row.wer_high is None:
        return ""
    low, high = frame.y(row.wer_low), frame.y(row.wer_high)
    return f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'


def time_by_stage(summary: Summary) -> str:
    """Returns one bar cut into the stages of the run, with its legend."""
    stages = {name: float(seconds) for name, seconds in summary.seconds.items() if seconds > 0}
    total = sum(stages.values())
    if not total:
        return ""
    pieces, legend, at = "", "", 0.0
    for i, (name, seconds) in enumerate(stages.items()):
        share, color = 1000 * seconds / total, f"var(--stage-{i % 8})"
        tip = text(f"{name}: {clock(seconds)}")
        pieces += (
            f'<rect x="{at:.2f}" y="0" width="{max(0.0, share - 2):.2f}" height="18" style="fill:{color}">'
        )
        pieces += f"<title>{tip}</title></rect>"
        legend += tag(
            "span", text(name) + " " + tag("b", text(clock(seconds))), class_="key", style=f"--c:{color}"
        )
        at += share
    bar = f'<svg class="time" viewBox="0 0 1000 18" preserveAspectRatio="none" role="img">{pieces}</svg>'
    facts = f"Together {clock(total)}."
    if summary.peak_gib is not None:
        facts += f" Memory: {summary.peak_gib:.1f} GiB at most."
    return section("time", "Where the time went", bar, tag("div", legend, class_="legend"), note(facts))
