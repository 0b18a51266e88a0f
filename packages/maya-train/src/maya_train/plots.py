"""`curves.html` in a stage's folder: losses, error rates and speed as SVG, out of its JSON lines."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maya_train.gauges import flat
from maya_train.metrics_log import read_steps

POINTS = 400
"""Points of a curve; each is the mean of the steps that it stands for."""
WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 14, 30
COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7",
    "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0", "#1b9e77", "#d95f02",
)  # fmt: skip
STYLE = """body{font:14px system-ui,sans-serif;margin:2rem;max-width:60rem}
svg{display:block;margin:0 0 1.5rem}
text{font-size:11px;fill:#555}line{stroke:#ddd}polyline{fill:none;stroke-width:1.5}h2{font-size:1rem}"""

Point = tuple[float, float]
Curves = dict[str, list[Point]]


class Chart(NamedTuple):
    """A picture: its title, and what of a record is in it."""

    title: str
    prefixes: tuple[str, ...]
    log_scale: bool = False


CHARTS = (
    Chart("Loss", ("loss", "ctc", "rnnt", "tdt", "aux"), log_scale=True),
    Chart("Loss by language", ("by_lang/",), log_scale=True),
    Chart("Gradient norm", ("grad_norm",), log_scale=True),
    Chart("Learning rate", ("lr/",)),
    Chart("Hours of audio an hour", ("speed",)),
    Chart(
        "Share of the time that waits for data, share of padding, MFU",
        ("data_wait", "time/padding", "time/mfu"),
    ),
    Chart("Memory, GiB", ("time/memory_gib",)),
)
SCORES = (Chart("Word error rate", ("wer/",)), Chart("Character error rate", ("cer/",)))


def draw(folder: Path) -> None:
    """Write `curves.html` from what `folder` holds by now; without any step, nothing."""
    if not (folder / "metrics.jsonl").is_file():
        return
    steps = read_steps(folder / "metrics.jsonl")
    if not steps:
        return
    training, scores = curves([derived(steps[step]) for step in sorted(steps)]), curves(_scores(folder))
    pictures = [picture(chart, training) for chart in CHARTS] + [picture(chart, scores) for chart in SCORES]
    title = html.escape(f"{folder.name}: {max(steps):,} steps")
    body = "\n".join(part for part in pictures if part)
    head = f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    page = f"{head}<h1>{title}</h1>\n{body}\n"
    part = folder / "curves.part"
    part.write_text(page, encoding="utf-8")
    part.replace(folder / "curves.html")


def derived(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with speed and share of waiting."""
    time = record.get("time") or {}
    seconds = time.get("step", 0.0) + time.get("data", 0.0)
    more = {} if not seconds else {
        "speed": (record.get("audio_seconds") or 0.0) / seconds,
        "data_wait": time.get("data", 0.0) / seconds,
    }  # fmt: skip
    return {**record, **more}


def curves(records: Sequence[Mapping[str, Any]]) -> Curves:
    """Each number's points, thinned to means of neighbours."""
    found: Curves = {}
    for record in records:
        for name, value in flat(record).items():
            found.setdefault(name, []).append((float(record["step"]), value))
    return {name: thin(points) for name, points in found.items()}


def thin(points: list[Point], most: int = POINTS) -> list[Point]:
    """At most `most` points, each the mean of those it stands for."""
    width = math.ceil(len(points) / most)
    groups = [points[start : start + width] for start in range(0, len(points), width)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups
    ]


def picture(chart: Chart, all_curves: Curves) -> str:
    """One chart with its title, or nothing where there is nothing to show."""
    shown = {
        name: [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not chart.log_scale)]
        for name, points in all_curves.items()
        if any(
            name == prefix or (prefix.endswith("/") and name.startswith(prefix)) for prefix in chart.prefixes
        )
    }
    shown = {name: points for name, points in shown.items() if points}
    return f"<h2>{html.escape(chart.title)}</h2>{_svg(chart, shown)}" if shown else ""


def _scores(folder: Path) -> list[dict[str, Any]]:
    path = folder / "validation.jsonl"
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    last = {line["step"]: line for line in lines if "step" in line}
    return [
        {key: line[key] for key in ("step", "wer", "cer") if key in line} for _, line in sorted(last.items())
    ]


def _svg(chart: Chart, shown: Curves) -> str:
    points = [point for curve in shown.values() for point in curve]
    (x_low, x_high), (y_low, y_high) = _range([x for x, _ in points]), _range([y for _, y in points])
    if not chart.log_scale:
        y_low = min(0.0, y_low)
    rise = (lambda y: math.log(y)) if chart.log_scale else (lambda y: y)
    bottom, span = rise(y_low), (rise(y_high) - rise(y_low)) or 1.0

    def place(x: float, y: float) -> str:
        right = LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / ((x_high - x_low) or 1.0)
        return f"{right:.1f},{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (rise(y) - bottom) / span:.1f}"

    drawn = _axes(chart, (x_low, x_high), (y_low, y_high))
    for number, (name, curve) in enumerate(sorted(shown.items())):
        colour = COLOURS[number % len(COLOURS)]
        dots = " ".join(place(x, y) for x, y in (curve if len(curve) > 1 else curve * 2))
        cap = ' stroke-linecap="round" stroke-width="4"' if len(curve) == 1 else ""
        drawn.append(
            f'<polyline points="{dots}" stroke="{colour}"{cap}><title>{html.escape(name)}</title></polyline>'
        )
        drawn.append(
            f'<rect x="{WIDTH - RIGHT + 10}" y="{TOP + 14 * number}" width="9" height="9" fill="{colour}"/>'
        )
        drawn.append(f'<text x="{WIDTH - RIGHT + 24}" y="{TOP + 9 + 14 * number}">{html.escape(name)}</text>')
    height = max(HEIGHT, TOP + 14 * len(shown) + 6)
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">{"".join(drawn)}</svg>'


def _axes(chart: Chart, x_range: Point, y_range: Point) -> list[str]:
    drawn = []
    for part in range(5):
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part / 4
        low, high = y_range
        value = low * (high / low) ** (part / 4) if chart.log_scale else low + (high - low) * part / 4
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for part in range(5):
        x = LEFT + (WIDTH - LEFT - RIGHT) * part / 4
        step = x_range[0] + (x_range[1] - x_range[0]) * part / 4
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{step:,.0f}</text>')
    return drawn


def _range(values: Sequence[float]) -> Point:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))
