"""Plots as SVG: bars, stacked bars and histograms, in the colours of the page."""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 760, 220
LEFT, BOTTOM, TOP = 52, 34, 10
HUES = 9
"""Colours of the page; the last is for all that are left."""


class Part(NamedTuple):
    """A piece of a stacked bar."""

    value: float
    colour: int
    title: str


def stacked(rows: Sequence[tuple[str, Sequence[Part], str]]) -> str:
    """Return horizontal bars, one a row of (label, parts, text behind the bar)."""
    longest = max([sum(part.value for part in parts) for _, parts, _ in rows] or [1.0]) or 1.0
    height, span = 28, WIDTH - 60 - 110
    drawn = []
    for number, (label, parts, note) in enumerate(rows):
        x, y = 60.0, number * height + 4
        drawn.append(_text(x - 10, y + 15, label, "end"))
        for part in parts:
            width = span * part.value / longest
            drawn.append(_rect(part.colour, (x, y, width - 0.6, 20), part.title))
            x += width
        drawn.append(_text(x + 8, y + 15, note, "start"))
    return _svg(WIDTH, len(rows) * height + 8, drawn)


def histogram(edges: Sequence[float], counts: Sequence[int], unit: str, *, small: bool = False) -> str:
    """Return vertical bars between `edges`, with axes; a small one has no vertical axis."""
    width, height, left = (230, 110, 8) if small else (WIDTH, HEIGHT, LEFT)
    tallest, rise = _round_up(max([*counts, 1])), height - BOTTOM - TOP
    step = (width - left - 8) / max(len(counts), 1)
    drawn = [] if small else _grid(tallest, width, rise)
    for number, count in enumerate(counts):
        bar = rise * count / tallest
        title = f"{edges[number]:g} to {edges[number + 1]:g} {unit}: {count:,}"
        drawn.append(_rect(0, (left + number * step + 0.5, TOP + rise - bar, step - 1, bar), title))
    every = max(1, len(counts) // (3 if small else 8))
    for place in range(0, len(edges), every):
        anchor = "end" if place == len(counts) else "start" if small and not place else "middle"
        drawn.append(_text(left + place * step, TOP + rise + 16, f"{edges[place]:g}", anchor))
    return _svg(width, height, [*drawn, _text(width - 8, height - 3, unit, "end")])


def steps(edges: Sequence[float], values: Sequence[float], titles: Sequence[str], unit: str) -> str:
    """Return bars of unequal width: `values`, which are parts of one, between `edges`."""
    tallest, rise = _round_up(max([*values, 0.01])), HEIGHT - BOTTOM - TOP
    scale = (WIDTH - LEFT - 8) / max(edges[-1], 1e-6)
    drawn = _grid(tallest, WIDTH, rise, share=True)
    for number, value in enumerate(values):
        x, width = LEFT + edges[number] * scale, (edges[number + 1] - edges[number]) * scale
        bar = rise * value / tallest
        drawn.append(_rect(1, (x + 0.4, TOP + rise - bar, width - 0.8, bar), titles[number]))
    for part in range(9):
        tick = edges[-1] * part / 8
        drawn.append(
            _text(LEFT + tick * scale, TOP + rise + 16, f"{tick:.1f}", "end" if part == 8 else "middle")
        )
    return _svg(WIDTH, HEIGHT, [*drawn, _text(WIDTH - 8, HEIGHT - 3, unit, "end")])


def _rect(colour: int, place: tuple[float, float, float, float], title: str) -> str:
    x, y, width, height = place
    size = f'width="{max(width, 0.4):.1f}" height="{height:.1f}"'
    return (
        f'<rect class="c{colour}" x="{x:.1f}" y="{y:.1f}" {size}><title>{html.escape(title)}</title></rect>'
    )


def _grid(tallest: float, width: float, rise: float, share: bool = False) -> list[str]:
    """Return five lines with their values, as parts of one where `share`."""
    drawn = []
    for part in range(5):
        y, value = TOP + rise * (1 - part / 4), tallest * part / 4
        drawn.append(f'<line x1="{LEFT}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(LEFT - 8, y + 4, f"{value:.1%}" if share else _short(value), "end"))
    return drawn


def _round_up(value: float) -> float:
    """Return the least value not below this one that four grid lines divide well."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _svg(width: float, height: float, drawn: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(drawn)}</svg>'
