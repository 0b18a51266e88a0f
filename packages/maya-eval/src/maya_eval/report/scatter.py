"""Accuracy against speed: a point a system, with its languages as faint dots above and below it."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from maya_eval.languages import english_name
from maya_eval.report.leaderboard import Entry
from maya_eval.report.markup import head_label, note, section, tag, text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1000, 350, 44, 150, 30, 46


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
    if not points:
        return ""
    rates = [rate for line, _, _ in points for rate in line.wer.values() if rate is not None]
    frame = _frame([rtfx for _, rtfx, _ in points], rates)
    drawing = _axes(frame) + "".join(_point(line, rtfx, mean, frame) for line, rtfx, mean in points)
    svg = tag("svg", drawing, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label="WER against RTFx")
    said = "Right and down is better. Large: the mean of the languages; small: each language. "
    said += "RTFx = seconds of audio / seconds of work (features and decoding, file reading not counted)."
    measured = "; ".join(f"{head_label(system)}: {how}" for system, how in conditions.items() if how)
    if measured:
        said += f" Measured on {measured}."
    return section(anchor, "Accuracy against speed", tag("div", svg, class_="scroll chart"), note(said))


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


def _point(line: Entry, rtfx: float, mean: float, frame: _Frame) -> str:
    x, y = frame.x(rtfx), frame.y(mean)
    dots = ""
    for lang, rate in line.wer.items():
        if rate is not None:
            tip = text(f"{head_label(line.system)}, {english_name(lang)}: {100 * rate:.1f} %")
            circle = f'class="dot" cx="{x:.1f}" cy="{frame.y(rate):.1f}" r="3" style="fill:{line.color}"'
            dots += f"<circle {circle}><title>{tip}</title></circle>"
    tip = text(f"{head_label(line.system)}: {100 * mean:.1f} % WER, RTFx {rtfx:.1f}")
    dots += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" style="fill:{line.color}"><title>{tip}</title></circle>'
    return (
        dots + f'<text class="label" x="{x + 12:.1f}" y="{y + 5:.1f}">{text(head_label(line.system))}</text>'
    )
