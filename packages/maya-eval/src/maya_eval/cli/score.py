"""`maya-eval score`: error rates of a JSON lines file, a row a language and profile."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from maya_eval import measures, scores, tables, verdict_tables
from maya_eval.buckets import Grouping
from maya_eval.counting import Scored
from maya_eval.hypotheses import Hypothesis, Reading, iter_hypotheses
from maya_eval.normalize import PROFILES
from maya_eval.normalize import profile as find_profile
from maya_eval.references import NO_LANG, POLICIES, completed, read_references


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    parser = commands.add_parser("score", help="WER and CER of a JSON lines file, a row a language")
    parser.add_argument("hypotheses", type=Path, help="JSON lines: utt_id, lang, text, pred_text, ...")
    add_profiles(parser)
    parser.add_argument(
        "--by", default="lang", help="columns to group by, with commas: lang,duration (default: lang)"
    )
    parser.add_argument(
        "--edges",
        action="append",
        default=[],
        metavar="COLUMN=A,B,...",
        help="where numbers of a column are parted",
    )
    parser.add_argument("--lang", help="language of lines that name none")
    parser.add_argument("--refs", type=Path, metavar="FILE", help="JSON lines of what must be answered")
    parser.add_argument(
        "--missing", choices=POLICIES, default="refuse", help="what becomes of utterances without an output"
    )
    parser.add_argument(
        "--measures", default="", help=f"comma-separated, of: {', '.join(measures.MEASURES)}, variants, all"
    )
    parser.add_argument("--lattice", type=Path, metavar="FILE", help="JSON lines of accepted spellings")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument(
        "--utterances", type=Path, metavar="FILE", help="write the counts of every utterance there"
    )
    parser.set_defaults(command=_score)


def add_profiles(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the normalisation."""
    names = ", ".join(PROFILES)
    parser.add_argument(
        "--profiles",
        "--profile",
        default=scores.HEADLINE,
        help=f"comma-separated, of: {names} (default: %(default)s)",
    )


def _score(options: argparse.Namespace) -> None:
    profiles = list(dict.fromkeys(find_profile(name.strip()).name for name in options.profiles.split(",")))
    names = [name.strip() for name in options.measures.split(",") if name.strip()]
    by = Grouping.parse(options.by, _edges(options.edges))
    scorer = scores.Scorer(profiles, by, measures.choose(names, options.lattice))
    seen: set[str] = set()
    with ExitStack() as stack:
        if options.utterances:
            file = stack.enter_context(options.utterances.open("w", encoding="utf-8"))
            scorer.watch = lambda item: _write_counts(file, item)
        for row in _rows(options):
            seen.update(name for name in by.columns if row.column(name))
            scorer.add(row)
    for name in by.columns:
        if name not in seen and name not in ("words", "cmi"):
            raise ValueError(f"{options.hypotheses}: no line has a column {name!r} to group by")
    _show(scorer, options)


def _rows(options: argparse.Namespace) -> Iterator[Hypothesis]:
    absent = ["pred_text"] if options.missing == "deletions" else []
    if options.refs is None:
        reading = Reading(default_lang=options.lang, empty_if_absent=tuple(absent))
        yield from iter_hypotheses(options.hypotheses, reading)
        return
    references = read_references(options.refs, options.lang)
    reading = Reading(default_lang=NO_LANG, empty_if_absent=("text", *absent))
    rows = iter_hypotheses(options.hypotheses, reading)
    yield from completed(rows, references, options.missing, str(options.hypotheses))


def _edges(options: list[str]) -> dict[str, tuple[float, ...]]:
    edges = {}
    for option in options:
        name, _, values = option.partition("=")
        try:
            edges[name] = tuple(float(value) for value in values.split(","))
        except ValueError as error:
            raise ValueError(f"--edges takes COLUMN=A,B,... with numbers, got {option!r}") from error
    return edges


def _write_counts(file: TextIO, item: Scored) -> None:
    words, chars, clusters = item.words, item.chars, item.clusters
    row = {
        "utt_id": item.hypothesis.utt_id,
        "lang": item.hypothesis.lang,
        "profile": item.profile,
        "version": find_profile(item.profile).version,
        "words": words.ref,
        "sub": words.sub,
        "del": words.del_,
        "ins": words.ins,
        "chars": chars.ref,
        "char_errors": chars.errors,
        "clusters": clusters.ref,
        "cluster_errors": clusters.errors,
    }
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _show(scorer: scores.Scorer, options: argparse.Namespace) -> None:
    rows = scorer.rows(options.seed)
    for name, langs in scorer.uncovered.items():
        print(
            f"maya-eval: {name} has no rules for {', '.join(sorted(langs))}: no row for it", file=sys.stderr
        )
    if not rows:
        raise ValueError(f"{options.hypotheses}: none of its languages has rules in {options.profiles}")
    found, speed = scorer.identification, scorer.speed
    if options.json:
        document: dict[str, object] = {"rows": [row.to_dict() for row in rows]}
        if found.utterances and options.measures:
            document["language_identification"] = found.to_dict()
        if speed.utterances and options.measures:
            document["speed"] = speed.to_dict()
        text = json.dumps(document, ensure_ascii=False, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    console = tables.wide_console()
    console.print(tables.score_table(rows, scorer.by.title))
    if speed.utterances:
        console.print(speed.sentence(), style="dim", highlight=False)
    for measure in scorer.measures:
        console.print(verdict_tables.measure_table(rows, measure, scorer.by.title))
    if found.utterances:
        console.print(verdict_tables.confusion_table(found))
