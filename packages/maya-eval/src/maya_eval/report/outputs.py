"""What a report leaves beside its page: `summary.json`, `scores.csv` and `scores.md`.

Every figure is a row with its language, profile and interval; a mean stands only beside its own rows.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maya_eval.languages import english_name
from maya_eval.report.leaderboard import Entry, entries
from maya_eval.report.scored_run import MADE_BY
from maya_eval.summary import benchmarks_of, parse_summary, percent


def write_files(folder: Path, summary: Mapping[str, Any]) -> list[Path]:
    """Writes the three files and returns them; a `summary.json` that another program made is left alone."""
    contents = {"scores.csv": scores_csv(summary), "scores.md": scores_markdown(summary)}
    if _ours(folder / "summary.json"):
        contents["summary.json"] = json.dumps(summary, ensure_ascii=False, indent=1) + "\n"
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return [folder / name for name in contents]


def _ours(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("made_by") == MADE_BY)
    except (ValueError, AttributeError):
        return False


def scores_csv(summary: Mapping[str, Any]) -> str:
    """Returns the rows as CSV, rates as fractions; a measure's figures are columns `measure.figure`."""
    rows = [_flat(row) for row in summary["rows"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        figures = value if isinstance(value, Mapping) else None
        flat |= {name: value} if figures is None else {f"{name}.{key}": v for key, v in figures.items()}
    return flat


def scores_markdown(summary: Mapping[str, Any]) -> str:
    """Returns leaderboard and scores by language of every benchmark, for a README or a pull request."""
    return "\n".join(_benchmark(summary, name) for name in benchmarks_of(summary))


def _benchmark(summary: Mapping[str, Any], name: str) -> str:
    parsed = parse_summary(summary, name)
    rtfx = {head: 1 / rtf for head, rtf in parsed.rtf.items() if rtf}
    lines = entries(parsed, rtfx)
    langs = parsed.langs
    title = f"## {_safe(name)}" if name else "## Scores"
    mean = [f"mean of {len(langs)}"] if len(langs) > 1 else []
    board = [["system", "profile", *langs, *mean, "RTFx"]]
    board += [_entry(line, langs) for line in lines]
    parts = [
        title,
        "",
        f"WER in per cent; profile {parsed.profile or 'not named'} unless a row says otherwise.",
    ]
    parts += ["", *_table(board), "", *_by_language(parsed)]
    sources = [f"- {_safe(line.system)}: {_safe(line.source)}" for line in lines if line.source]
    return "\n".join([*parts, *(["", "Sources of published figures:", "", *sources] if sources else []), ""])


def _entry(line: Entry, langs: Sequence[str]) -> list[str]:
    mean = [percent(line.mean(langs))] if len(langs) > 1 else []
    system = f"{_safe(line.system)} (published)" if line.source else _safe(line.system)
    speed_text = "-" if line.rtfx is None else f"{line.rtfx:.1f}"
    rates = [percent(line.wer.get(lang)) for lang in langs]
    return [system, line.profile or "-", *rates, *mean, speed_text]


def _by_language(parsed: Any) -> list[str]:
    rows = [["language", "utterances", *(f"{_safe(head)} WER (95 %) / CER" for head in parsed.heads)]]
    for lang in parsed.langs:
        cells = [parsed.cell(head, lang) for head in parsed.heads]
        utterances = max((cell.utterances for cell in cells if cell), default=0)
        rows.append([f"{lang} {english_name(lang)}", str(utterances), *(_rates(cell) for cell in cells)])
    return _table(rows)


def _rates(cell: Any) -> str:
    if cell is None:
        return "-"
    interval = "" if cell.low is None else f" ({percent(cell.low)}-{percent(cell.high)})"
    return f"{percent(cell.wer)}{interval} / {percent(cell.cer)}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    line = ["---", *("---:" for _ in head[1:])]
    return ["| " + " | ".join(row) + " |" for row in (head, line, *body)]


def _safe(value: str) -> str:
    """Markdown shows the text as it is: no table is broken, no markup is made."""
    return " ".join(value.replace("|", "\\|").replace("<", "&lt;").split())
