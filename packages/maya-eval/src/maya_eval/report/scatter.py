"""Accuracy against speed: a point a system, with its languages as faint dots above and below it.

Systems with a published WER and RTFx are rings beside ours, which are discs.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from maya_eval.languages import english_name
from maya_eval.report.leaderboard import Entry
from maya_eval.report.markup import head_label, note, section, tag, text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1000, 350, 44, 150, 30, 46
LETTER, LINE = 7, 14
"""Size of a letter of a name, roughly."""
DOT, GAP = 6, 12
"""Half the width of a point, and from its middle to its name."""


class _Box(NamedTuple):
    """A stretch of one line of the drawing that is written on."""

    start: float
    end: float
    y: float

    def clear_of(self, others: Sequence["_Box"]) -> bool:
        return all(
            abs(self.y - other.y) >= LINE or self.end <= other.start or other.end <= self.start
            for other in others
        )


class _Frame(NamedTuple):
    """Where values lie on the canvas; speed has a logarithmic axis."""

    slow: float
    fast: float
    top: float

    def x(self, rtfx: float) -> float:
        share = math.log(rtfx / self.slow) / math.log(self.fast / self.slow)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, rate: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(rate, self.top) / self.top)


def accuracy_against_speed(
    lines: Sequence[Entry], langs: Sequence[str], conditions: Mapping[str, str], anchor: str = "speed"
) -> str:
    """Returns the drawing; empty where no system has both figures.

    Args:
        lines: systems with their rates.
        langs: languages of the mean.
        conditions: how each system's speed was measured: device, number format, batch size, warm-up.
        anchor: id of the section.
    """
    points = [
        (line, line.rtfx, mean) for line in lines if line.rtfx and (mean := line.mean(langs)) is not None
    ]
    if all(line.source for line, _, _ in points):
        return ""
    points.sort(key=lambda point: bool(point[0].source))
    rates = [rate for line, _, _ in points for rate in line.wer.values() if rate is not None]
    frame = _frame([rtfx for _, rtfx, _ in points], rates)
    places = [(line, frame.x(rtfx), frame.y(mean)) for line, rtfx, mean in points]
    taken = [_Box(x - DOT, x + DOT, y) for _, x, y in places]
    drawing = _axes(frame) + "".join(_point(line, (x, y), frame) for line, x, y in places)
    drawing += "".join(_label(line, (x, y), taken) for line, x, y in places)
    svg = tag("svg", drawing, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label="WER against RTFx")
    said = "Right and down is better. Large: the mean of the languages; small: each language. "
    said += "RTFx = seconds of audio / seconds of work (features and decoding, file reading not counted)."
    if points[-1][0].source:
        said += " Rings: published figures, measured on other hardware; point at one for its name."
    if any(conditions.values()):
        said += f" Measured on {_measured_on(conditions)}."
    return section(anchor, "Accuracy against speed", tag("div", svg, class_="scroll chart"), note(said))


def _measured_on(conditions: Mapping[str, str]) -> str:
    """How speeds were measured, said once where it is the same of several systems."""
    systems: dict[str, list[str]] = {}
    for system, how in conditions.items():
        if how:
            systems.setdefault(how, []).append(head_label(system))
    return "; ".join(f"{', '.join(names)}: {how}" for how, names in systems.items())


def _frame(speeds: Sequence[float], rates: Sequence[float]) -> _Frame:
    slow, fast = min(speeds), max(speeds)
    low, high = slow / 1.6, fast * 1.6
    top = max(0.1, math.ceil(10 * min(1.2, max(rates, default=0.1))) / 10)
    return _Frame(low, high, top)


def _axes(frame: _Frame) -> str:
    marks = ""
    step = 0.1 if frame.top <= 0.6 else 0.2
    for i in range(round(frame.top / step) + 1):
        y = frame.y(i * step)
        marks += f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        marks += (
            f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * i * step:.0f}</text>'
        )
    for speed in _ticks(frame.slow, frame.fast):
        x = frame.x(speed)
        marks += f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        marks += (
            f'<text class="axis" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{speed:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    place = f'x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle"'
    marks += f'<text class="axis" {place}>RTFx (faster to the right)</text>'
    return marks + f'<text class="axis" x="0" y="{TOP - 16}">WER %</text>'


def _ticks(slow: float, fast: float) -> list[float]:
    decades = range(math.floor(math.log10(slow)), math.ceil(math.log10(fast)) + 1)
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if fast / slow < 8 else (1, 2, 5) if fast / slow < 300 else (1,)
    ticks = [factor * 10.0**power for power in decades for factor in steps]
    return [tick for tick in ticks if slow <= tick <= fast]


def _point(line: Entry, place: tuple[float, float], frame: _Frame) -> str:
    x, y = place
    dots = ""
    for lang, rate in line.wer.items():
        if rate is not None and not line.source:
            tip = text(f"{head_label(line.system)}, {english_name(lang)}: {100 * rate:.1f} %")
            circle = f'class="dot" cx="{x:.1f}" cy="{frame.y(rate):.1f}" r="3" style="fill:{line.color}"'
            dots += f"<circle {circle}><title>{tip}</title></circle>"
    rates = [rate for rate in line.wer.values() if rate is not None]
    tip = text(
        f"{head_label(line.system)}: {100 * sum(rates) / len(rates):.1f} % WER, RTFx {line.rtfx:.1f}"
        + (", published" if line.source else "")
    )
    look = 'r="5" class="ring"' if line.source else f'r="7" style="fill:{line.color}"'
    return dots + f'<circle cx="{x:.1f}" cy="{y:.1f}" {look}><title>{tip}</title></circle>'


def _label(line: Entry, place: tuple[float, float], taken: list[_Box]) -> str:
    """The name right or left of its point; a published one is left out where it would cover others."""
    x, y = place
    ours = not line.source
    shown = head_label(line.system) if ours else line.system.rpartition("/")[2]
    width = LETTER * len(shown)
    boxes = {"start": _Box(x + GAP, x + GAP + width, y), "end": _Box(x - GAP - width, x - GAP, y)}
    free = [anchor for anchor, box in boxes.items() if box.start > LEFT and box.clear_of(taken)]
    if not (free or ours):
        return ""
    anchor = free[0] if free else "start"
    taken.append(boxes[anchor])
    at = x + GAP if anchor == "start" else x - GAP
    look = f'class="{"label" if ours else "axis"}" text-anchor="{anchor}"'
    return f'<text {look} x="{at:.1f}" y="{y + 5:.1f}">{text(shown)}</text>'
