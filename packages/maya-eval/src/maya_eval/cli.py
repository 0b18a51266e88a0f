"""The `maya-eval` command: `run` makes hypotheses, `score` counts errors, `report` writes an HTML page."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from maya_eval import __version__, report, scores, tables
from maya_eval.hypotheses import Hypothesis, read_hypotheses
from maya_eval.normalize import PROFILES
from maya_eval.normalize import profile as find_profile
from maya_eval.summary import read_summary


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command; a mistake in the input is one line on stderr and exit status 2."""
    options = _parser().parse_args(argv)
    try:
        options.command(options)
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"maya-eval: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="maya-eval", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_score(commands.add_parser("score", help="WER and CER of a JSON lines file, a row a language"))
    _add_report(commands.add_parser("report", help="one HTML page that opens offline"))
    _add_run(commands.add_parser("run", help="transcribe an index with a model; goes on where it was"))
    return parser


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hypotheses", type=Path, help="JSON lines: utt_id, lang, text, pred_text, ...")
    names = ", ".join(PROFILES)
    parser.add_argument(
        "--profiles", "--profile", default=scores.HEADLINE, help=f"comma-separated, of: {names}"
    )
    parser.add_argument("--by", default="lang", help="column to group by, for instance speaker")
    parser.add_argument("--lang", help="language of lines that name none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.set_defaults(command=_score)


def _score(options: argparse.Namespace) -> None:
    profiles = [find_profile(name.strip()).name for name in options.profiles.split(",")]
    hypotheses = read_hypotheses(options.hypotheses, options.lang)
    if not any(row.column(options.by) for row in hypotheses):
        raise ValueError(f"{options.hypotheses}: no line has a column {options.by!r} to group by")
    rows = [row for name in profiles for row in scores.score(hypotheses, name, options.by)]
    if options.json:
        text = json.dumps({"rows": [row.to_dict(options.by) for row in rows]}, ensure_ascii=False, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    Console().print(tables.score_table(rows, options.by))


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("summary", type=Path, help="the summary.json of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html")
    parser.add_argument("--hyps", type=Path, help="folder of <head>.jsonl (default: hyps beside the summary)")
    parser.add_argument(
        "--samples", type=Path, help="folder of <lang>.wav (default: samples beside the summary)"
    )
    parser.add_argument("--title", default="Maya ASR")
    parser.add_argument("--statement", default="", help="what the score does and does not show")
    parser.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> None:
    folder = options.summary.parent
    samples, ids = report.sample_folder(options.samples or folder / "samples")
    page = report.render(
        read_summary(options.summary),
        _hypotheses_of(options.hyps or folder / "hyps"),
        samples,
        sample_ids=ids,
        title=options.title,
        statement=options.statement,
    )
    options.out.write_text(page, encoding="utf-8")
    print(f"wrote {options.out} ({len(page.encode()) / 1e6:.1f} MB)")


def _hypotheses_of(folder: Path) -> dict[str, list[Hypothesis]]:
    return {path.stem: read_hypotheses(path) for path in sorted(folder.glob("*.jsonl"))}


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--index", required=True, type=Path, metavar="DIR", help="made by `maya-data index`")
    parser.add_argument("--out", required=True, type=Path, metavar="HYPS.jsonl")
    parser.add_argument(
        "--transcriber", "--system", default="maya-llm", help="a plugin of maya.transcribers, or module:Class"
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of the transcriber: decode=ctc"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> None:
    from maya_eval import harness

    done = harness.run(
        harness.RunConfig(
            model=options.model,
            index=options.index,
            out=options.out,
            transcriber=options.transcriber,
            options=_fields(options.set),
            device=options.device,
            batch_size=options.batch_size,
        )
    )
    for reason in done.skipped:
        print(f"maya-eval: left out: {reason}", file=sys.stderr)
    print(f"{done.new} utterances transcribed, {done.kept} were there; real-time factor {done.rtf_text}")


def _fields(pairs: Sequence[str]) -> dict[str, str]:
    fields = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name and sign):
            raise ValueError(f"--set takes FIELD=VALUE, got {pair!r}")
        fields[name] = value
    return fields


if __name__ == "__main__":
    sys.exit(main())
