"""`maya-eval gate`: which head each language ships, and why; the exit status is for CI."""

import argparse
import json
from pathlib import Path

from maya_eval import tables, verdict_tables
from maya_eval.cli.compare import add_testing, one_profile
from maya_eval.cli.score import add_profiles
from maya_eval.gate import HEADS, Limits, decide
from maya_eval.hypotheses import read_hypotheses

NOT_PASSED = 1


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    parser = commands.add_parser(
        "gate",
        help="which head each language ships, and why",
        description="Heads are taken from the cheapest to the dearest (ctc, rnnt, llm); a dearer one is "
        "shipped only where it is better in the paired tests. Exit status: 0 every language ships a head "
        "within the limits, 1 some language does not, 2 input that cannot be used.",
    )
    parser.add_argument("folder", type=Path, nargs="?", help="with ctc.jsonl, rnnt.jsonl, llm.jsonl")
    for head in reversed(HEADS):
        parser.add_argument(f"--{head}", type=Path, metavar="FILE", help=f"JSON lines of the {head} head")
    add_profiles(parser)
    parser.add_argument("--lang", help="language of lines that name none")
    add_testing(parser)
    parser.add_argument("--max-wer", type=_share, metavar="RATE", help="highest WER, a fraction: 0.25")
    parser.add_argument(
        "--max-hallucination", type=_share, metavar="SHARE", help="highest share of made-up outputs: 0.01"
    )
    parser.add_argument("--require", choices=HEADS, help="a head that every language must ship")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the decisions there too")
    parser.set_defaults(command=_gate)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a fraction between 0 and 1, got {text}")
    return value


def _gate(options: argparse.Namespace) -> int:
    lenient = options.missing == "deletions"
    paths = _files(options)
    heads = {
        head: read_hypotheses(path, options.lang, missing_is_empty=lenient) for head, path in paths.items()
    }
    profile = one_profile(options.profiles, {str(paths[head]): rows for head, rows in heads.items()})
    limits = Limits(
        max_wer=options.max_wer,
        max_hallucination=options.max_hallucination,
        require=options.require,
        minimum=options.minimum,
        alpha=options.alpha,
    )
    verdict = decide(heads, profile, limits, missing=options.missing, seed=options.seed)
    if options.json:
        text = json.dumps(verdict.to_dict(), ensure_ascii=False, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    console = tables.wide_console()
    console.print(verdict_tables.verdict_table(verdict))
    failed = [row.lang for row in verdict.decisions if not row.passed]
    console.print(f"not passed: {', '.join(failed)}" if failed else "passed", highlight=False)
    return NOT_PASSED if failed else 0


def _files(options: argparse.Namespace) -> dict[str, Path]:
    """The files by head: those named, then those of the folder."""
    found = {head: path for head in HEADS if (path := getattr(options, head)) is not None}
    if options.folder is not None:
        if not options.folder.is_dir():
            raise ValueError(
                f"{options.folder}: no such folder; one with {'.jsonl, '.join(HEADS)}.jsonl expected"
            )
        for head in HEADS:
            if (path := options.folder / f"{head}.jsonl").is_file():
                found.setdefault(head, path)
    if len(found) < 2:
        given = ", ".join(found) or "none"
        raise ValueError(
            f"a gate needs two or more of {', '.join(HEADS)}, got {given}; give --llm FILE --ctc FILE"
        )
    return {head: found[head] for head in HEADS if head in found}
