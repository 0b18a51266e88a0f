"""`maya-eval compare`: two systems on the same utterances, with paired tests."""

import argparse
import json
from pathlib import Path

from maya_eval import tables, verdict_tables
from maya_eval.cli.score import add_profiles
from maya_eval.compare import ALPHA, compare, suspicious_references
from maya_eval.hypotheses import Hypothesis, read_hypotheses
from maya_eval.normalize import profile as find_profile
from maya_eval.references import POLICIES, matched
from maya_eval.scores import count
from maya_eval.significance import MINIMUM

SUSPECTS = 5
"""Suspicious references shown on the terminal."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    parser = commands.add_parser("compare", help="two systems on the same utterances, with paired tests")
    parser.add_argument("first", type=Path, help="JSON lines of one system")
    parser.add_argument("second", type=Path, help="JSON lines of the other")
    parser.add_argument("--names", nargs=2, metavar=("FIRST", "SECOND"), help="what to call them")
    add_profiles(parser)
    parser.add_argument("--lang", help="language of lines that name none")
    add_testing(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparisons there too")
    parser.set_defaults(command=_compare)


def add_testing(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the paired tests."""
    parser.add_argument(
        "--missing", choices=POLICIES, default="refuse", help="what becomes of utterances one file lacks"
    )
    parser.add_argument(
        "--minimum",
        type=int,
        default=MINIMUM,
        metavar="N",
        help="segments below which a test is refused (default: %(default)s)",
    )
    parser.add_argument(
        "--alpha", type=float, default=ALPHA, help="level of significance (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def one_profile(names: str, files: dict[str, list[Hypothesis]]) -> str:
    """Returns the profile of a comparison; two of them, asked for or named by the lines, are refused."""
    asked = list(dict.fromkeys(find_profile(name.strip()).name for name in names.split(",")))
    if len(asked) > 1:
        raise ValueError(f"a comparison has one profile, got {', '.join(asked)}")
    for name, rows in files.items():
        for told in {row.column("profile") for row in rows} - {"", asked[0]}:
            raise ValueError(f"{name}: its lines were scored under {told}, a comparison has one: {asked[0]}")
    return asked[0]


def _compare(options: argparse.Namespace) -> None:
    paths = [str(options.first), str(options.second)]
    if options.first.resolve() == options.second.resolve():
        raise ValueError(f"{paths[0]} is given twice; a comparison needs two files")
    lenient = options.missing == "deletions"
    files = {path: read_hypotheses(path, options.lang, missing_is_empty=lenient) for path in paths}
    profile = one_profile(options.profiles, files)
    scored = [count(rows, profile) for rows in matched(files, options.missing).values()]
    rows = compare(*scored, minimum=options.minimum, alpha=options.alpha, seed=options.seed)
    if all(row.refused for row in rows):
        raise ValueError("nothing can be tested: " + "; ".join(f"{row.lang}: {row.refused}" for row in rows))
    suspects = suspicious_references(*scored)
    names = options.names or _names(options.first, options.second)
    if options.json:
        document = {
            "first": names[0],
            "second": names[1],
            "alpha": options.alpha,
            "rows": [row.to_dict() for row in rows],
            "suspicious_references": [item.hypothesis.utt_id for item in suspects],
        }
        text = json.dumps(document, ensure_ascii=False, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    console = tables.wide_console()
    console.print(verdict_tables.comparison_table(rows, *names))
    if suspects:
        console.print(f"{len(suspects)} references may be wrong: both systems write the same, and not them")
        for item in suspects[:SUSPECTS]:
            console.print(
                tables.shown(f"  {item.hypothesis.utt_id}: {item.ref} | {item.hyp}"), soft_wrap=True
            )


def _names(first: Path, second: Path) -> tuple[str, str]:
    """The files' names, or their folders' where the files are called alike."""
    if first.stem != second.stem:
        return first.stem, second.stem
    folders = first.resolve().parent.name, second.resolve().parent.name
    return folders if folders[0] != folders[1] else (str(first), str(second))
