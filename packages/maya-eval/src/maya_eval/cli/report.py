"""`maya-eval report`: one HTML page that opens offline, and its figures as JSON, CSV and Markdown."""

import argparse
from pathlib import Path
from typing import Any

from maya_eval import report
from maya_eval.clips import read_clips
from maya_eval.hypotheses import Hypothesis, read_hypotheses
from maya_eval.references import POLICIES, level
from maya_eval.report.outputs import write_files
from maya_eval.report.scored_run import ScoredRun
from maya_eval.report.sound import MOST_EMBEDDED, sound_files
from maya_eval.scores import HEADLINE, count
from maya_eval.summary import head_order, read_summary

PAGE = "report.html"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    parser = commands.add_parser("report", help="one HTML page that opens offline, with CSV and Markdown")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="HYPS.jsonl",
        help="one file a system (NAME=FILE names it), or the summary.json of a run",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.html",
        help=f"page, or its folder (default: {PAGE} beside the input)",
    )
    parser.add_argument(
        "--profiles", default=HEADLINE, help="comma-separated; the first is the headline, others get rows too"
    )
    parser.add_argument("--lang", help="language of lines that name none")
    parser.add_argument(
        "--missing", choices=POLICIES, default="refuse", help="what becomes of utterances one file lacks"
    )
    parser.add_argument(
        "--embed-audio",
        type=int,
        default=MOST_EMBEDDED,
        metavar="N",
        help=f"embed the sound of the N worst utterances (default: {MOST_EMBEDDED}), at most 30 MB",
    )
    parser.add_argument("--hyps", type=Path, help="folder of <head>.jsonl (default: hyps beside the summary)")
    parser.add_argument(
        "--samples", type=Path, help="folder of <lang>.wav (default: samples beside the summary)"
    )
    parser.add_argument("--title", default="Maya ASR")
    parser.add_argument("--statement", default="", help="what the score does and does not show")
    parser.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> None:
    if options.embed_audio < 0:
        raise ValueError(f"--embed-audio takes 0 or more, got {options.embed_audio}")
    profile, *further = [name.strip() for name in options.profiles.split(",")]
    first = Path(options.inputs[0])
    from_summary = first.suffix == ".json" and len(options.inputs) == 1
    files = _beside(options, first) if from_summary else _named(options.inputs)
    lenient = options.missing == "deletions"
    read = {
        name: read_hypotheses(path, options.lang, missing_is_empty=lenient) for name, path in files.items()
    }
    hyps = level(read, options.missing)
    scored = {name: count(hyps[name], profile) for name in head_order(hyps)}
    run = ScoredRun(scored, profile, further)
    summary = read_summary(first) if from_summary else run.summary
    page = _page(options.out, next(iter(files.values())).parent if not from_summary else first.parent)
    samples, ids = report.sample_folder(options.samples or first.parent / "samples")
    settings = report.Page(
        title=options.title,
        statement=options.statement or summary.get("statement", ""),
        samples=samples if from_summary or options.samples else {},
        sample_ids=ids,
        sound=_sound(hyps, files),
        embed=options.embed_audio,
        folder=page.parent,
    )
    html = report.render_page(run, settings, summary)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html, encoding="utf-8")
    others = write_files(page.parent, summary)
    print(f"wrote {page} ({len(html.encode()) / 1e6:.1f} MB), {', '.join(path.name for path in others)}")


def _page(out: Path | None, folder: Path) -> Path:
    if out is None:
        return folder / PAGE
    return out if out.suffix.lower() in (".html", ".htm") else out / PAGE


def _beside(options: argparse.Namespace, summary: Path) -> dict[str, Path]:
    folder = options.hyps or summary.parent / "hyps"
    return {path.stem: path for path in sorted(folder.glob("*.jsonl"))}


def _named(inputs: list[str]) -> dict[str, Path]:
    """Returns the files by the name of their system: NAME=FILE, else the file's own."""
    found: dict[str, Path] = {}
    for item in inputs:
        name, sign, rest = item.partition("=")
        path = Path(item) if not sign or Path(item).exists() else Path(rest)
        name = name if sign and path != Path(item) else path.stem
        if name in found:
            raise ValueError(f"two files for the system {name!r}: {found[name]} and {path}; use NAME=FILE")
        found[name] = path
    return found


def _sound(hyps: dict[str, list[Hypothesis]], files: dict[str, Path]) -> dict[str, Path]:
    """Returns the sound that the lines name, and the clips that runs left, which are there for sure."""
    found: dict[str, Any] = sound_files(hyps, files)
    for path in files.values():
        found |= read_clips(path)
    return found
