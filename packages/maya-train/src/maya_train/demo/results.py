"""The demo's last page: `summary.json`, the finished model, samples to hear, the report and the table."""

import json
import platform
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from maya_train.demo.pipeline import TRANSCRIBERS
from maya_train.demo.steps import Ledger

STATEMENT = (
    "Sentences and voices of the test were never trained on, but all speech comes from one synthesiser and "
    "every word occurs in training: the scores show that the whole path learns and hears, not how it does on "
    "people."
)
FINAL = "llm"
CLIPS = 100
"""Utterances whose sound the report embeds."""
PACKAGES = (
    "maya-data",
    "maya-encoder",
    "maya-bridge",
    "maya-train",
    "maya-eval",
    "torch",
    "transformers",
    "lightning",
)


def write_results(run_dir: Path, stages: Sequence[str], ledger: Ledger, console: Console) -> dict[str, Any]:
    """Scores the hypotheses once, writes everything a person would want to see, and prints the table."""
    from maya_eval.hypotheses import read_hypotheses
    from maya_eval.tables import summary_table

    hyps = {head: read_hypotheses(run_dir / "hyps" / f"{head}.jsonl") for head in TRANSCRIBERS}
    _finished_model(run_dir / stages[-1] / "model", run_dir / "model")
    ids = _write_samples(run_dir / "index" / "test", run_dir / "samples")
    started = time.monotonic()
    summary: dict[str, Any] = {
        "rows": [row for head, rows in hyps.items() for row in _rows(head, rows)],
        "rtf": {head: _real_time_factor(rows) for head, rows in hyps.items()},
        "seconds": _seconds(run_dir, stages, ledger),
        "peak_gib": round(ledger.peak_gib, 2),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "statement": STATEMENT,
    }
    summary["seconds"]["score"] = round(time.monotonic() - started, 2)
    text = json.dumps(summary, ensure_ascii=False, indent=1)
    (run_dir / "summary.json").write_text(text + "\n", encoding="utf-8")
    _write_report(run_dir, summary, hyps, ids)
    console.print(summary_table(summary, title="Unseen sentences, unseen voices"))
    console.print(_voices(hyps))
    console.print(STATEMENT, style="dim")
    _print_where(run_dir, console)
    return summary


def _rows(head: str, hyps: list[Any]) -> list[dict[str, Any]]:
    from maya_eval.scores import permute_within_language, score

    return [
        {
            "lang": row.group,
            "head": head,
            "split": split,
            "wer": row.wer,
            "cer": row.cer,
            "utterances": row.utterances,
            "profile": row.profile,
        }
        for split, outputs in (("test", hyps), ("control", permute_within_language(hyps)))
        for row in score(outputs)
    ]


def _voices(hyps: dict[str, list[Any]]) -> Table:
    """WER of each test voice by head, the worst voice first: a mean hides a voice that is not understood."""
    from maya_eval.scores import score

    rates = {
        head: {row.group: row.wer or 0.0 for row in score(rows, by="speaker")} for head, rows in hyps.items()
    }
    table = Table(title="WER % by voice", title_justify="left")
    for column in ("voice", *(head.upper() for head in rates)):
        table.add_column(column)
    first = next(iter(rates.values()))
    for voice in sorted(first, key=lambda name: -first[name]):
        table.add_row(voice, *(f"{100 * by_voice[voice]:.1f}" for by_voice in rates.values()))
    return table


def _real_time_factor(hyps: list[Any]) -> float:
    work = sum(float(row.elapsed or 0.0) for row in hyps)
    return round(work / sum(float(row.duration) for row in hyps), 4)


def _seconds(run_dir: Path, stages: Sequence[str], ledger: Ledger) -> dict[str, float]:
    """Seconds of each step, the training split into its stages."""
    seconds: dict[str, float] = {}
    for name in ledger.done:
        if name != "train":
            seconds[name] = ledger.seconds(name)
            continue
        for stage in stages:
            done = json.loads((run_dir / stage / "DONE").read_text(encoding="utf-8"))
            seconds[stage] = round(float(done["wall_seconds"]), 2)
        seconds["train, start and end"] = round(
            max(0.0, ledger.seconds(name) - sum(seconds[stage] for stage in stages)), 2
        )
    return seconds


def _finished_model(source: Path, target: Path) -> None:
    """Copies the last stage's model to the place that users are told."""
    partial = target.with_name(".model.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _write_samples(index_dir: Path, out_dir: Path) -> dict[str, str]:
    """Writes the first held-out utterance of each language as WAV, and whose they are as ids.json."""
    import soundfile

    from maya_data.audio.fetch import read_audio
    from maya_data.indexing.segments import SegmentIndex

    out_dir.mkdir(parents=True, exist_ok=True)
    index = SegmentIndex.open(index_dir)
    ids: dict[str, str] = {}
    for i in range(len(index)):
        segment = index.row(i)
        if segment.lang not in ids:
            ids[segment.lang] = segment.id
            soundfile.write(out_dir / f"{segment.lang}.wav", read_audio(index, i), 16_000)
    (out_dir / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
    return ids


def _write_report(run_dir: Path, summary: dict[str, Any], hyps: dict[str, Any], ids: dict[str, str]) -> None:
    from maya_eval.report import Page, render_page
    from maya_eval.report.scored_run import ScoredRun
    from maya_eval.scores import count

    page = Page(
        title=f"Maya ASR: {run_dir.name}",
        statement=STATEMENT,
        samples={lang: run_dir / "samples" / f"{lang}.wav" for lang in ids},
        sample_ids=ids,
        sound=_write_clips(run_dir, hyps[FINAL]),
        folder=run_dir,
    )
    run = ScoredRun({head: count(rows) for head, rows in hyps.items()})
    (run_dir / "report.html").write_text(render_page(run, page, summary), encoding="utf-8")


def _write_clips(run_dir: Path, rows: list[Any]) -> dict[str, Path]:
    """Writes the sound of the utterances that the final head gets worst, for the report to play."""
    from maya_eval.clips import read_clips, write_clips
    from maya_eval.sources import index_source

    lines = run_dir / "hyps" / f"{FINAL}.jsonl"
    write_clips(lines, rows, index_source(run_dir / "index" / "test").utterances, CLIPS)
    return read_clips(lines)


def _print_where(run_dir: Path, console: Console) -> None:
    sample = f"{run_dir}/samples/hi.wav"
    console.print(
        f"report  {run_dir}/report.html", f"summary {run_dir}/summary.json", sep="\n", highlight=False
    )
    console.print(f"try it  maya-transcribe {sample} --model {run_dir}/model --lang hi", highlight=False)
