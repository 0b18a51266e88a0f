"""Whether a system answered for every utterance of a benchmark, and what becomes of those it did not.

A missing output is refused unless it is said to count as deletions: leaving out what is hard must not pay.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from maya_eval.hypotheses import Hypothesis, Reading, iter_hypotheses

Missing = Literal["refuse", "deletions"]
POLICIES: tuple[Missing, ...] = ("refuse", "deletions")
NO_LANG = "und"
"""ISO's code for a language that is not told: lines that take theirs from the references."""


def read_references(path: str | os.PathLike[str], default_lang: str | None = None) -> dict[str, Hypothesis]:
    """Returns what was said by utterance id, from JSON lines with id, `lang` and `text`: a manifest."""
    reading = Reading(default_lang=default_lang, empty_if_absent=("pred_text",))
    return {row.utt_id: replace(row, pred_text="") for row in iter_hypotheses(path, reading)}


def completed(
    rows: Iterable[Hypothesis], references: Mapping[str, Hypothesis], missing: Missing, where: str
) -> Iterator[Hypothesis]:
    """Yields the rows with the references' texts, then an empty output for every reference without one.

    Raises:
        ValueError: an utterance that the references do not have, or, unless missing ones count as deletions,
            one that the rows do not have.
    """
    answered: set[str] = set()
    for row in rows:
        reference = references.get(row.utt_id)
        if reference is None:
            raise ValueError(f"{where}: utterance {row.utt_id!r} is not among the references")
        answered.add(row.utt_id)
        yield _with_reference(row, reference)
    absent = [utt_id for utt_id in references if utt_id not in answered]
    _refuse(absent, missing, where, "the references have")
    yield from (references[utt_id] for utt_id in absent)


def matched(
    systems: Mapping[str, Sequence[Hypothesis]], missing: Missing = "refuse"
) -> dict[str, list[Hypothesis]]:
    """Returns the systems' rows for the same utterances in the same order, that of the first system.

    Raises:
        ValueError: an utterance that some system lacks (unless missing ones count as deletions), or that has
            another language in another system.
    """
    known: dict[str, Hypothesis] = {}
    for name, rows in systems.items():
        for row in rows:
            first = known.setdefault(row.utt_id, row)
            if row.lang != first.lang:
                raise ValueError(f"{name}: utterance {row.utt_id!r} is {row.lang}, elsewhere {first.lang}")
    found = {}
    for name, rows in systems.items():
        own = {row.utt_id: row for row in rows}
        _refuse([utt_id for utt_id in known if utt_id not in own], missing, name, "another file has")
        found[name] = [own.get(utt_id) or replace(row, pred_text="") for utt_id, row in known.items()]
    return found


def level(systems: Mapping[str, Sequence[Hypothesis]], missing: Missing) -> dict[str, list[Hypothesis]]:
    """Returns the systems' rows, each with the same utterances wherever two of them have outputs.

    What two systems share is a benchmark in a language; one that only one of them ran is left as it is.

    Raises:
        ValueError: an utterance that a system lacks, unless missing ones count as deletions.
    """
    known: dict[tuple[str, str], dict[str, Hypothesis]] = {}
    own: dict[str, dict[tuple[str, str], set[str]]] = {name: {} for name in systems}
    for name, rows in systems.items():
        for row in rows:
            part = row.column("benchmark"), row.lang
            known.setdefault(part, {}).setdefault(row.utt_id, row)
            own[name].setdefault(part, set()).add(row.utt_id)
    found = {name: list(rows) for name, rows in systems.items()}
    for name, parts in own.items():
        absent = [row for part, ids in parts.items() for row in known[part].values() if row.utt_id not in ids]
        _refuse([row.utt_id for row in absent], missing, name, "another file has")
        found[name] += [replace(row, pred_text="", elapsed=None) for row in absent]
    return found


def _with_reference(row: Hypothesis, reference: Hypothesis) -> Hypothesis:
    return replace(
        row,
        lang=reference.lang,
        text=reference.text,
        duration=row.duration if reference.duration is None else reference.duration,
        speaker=reference.speaker or row.speaker,
        extra=reference.extra | row.extra,
    )


def _refuse(absent: Sequence[str], missing: Missing, where: str, who: str) -> None:
    if absent and missing == "refuse":
        what = "1 utterance is" if len(absent) == 1 else f"{len(absent)} utterances are"
        raise ValueError(
            f"{where}: {what} missing that {who}, the first is {absent[0]!r}; complete the file, or give "
            "`--missing deletions` to count their words as deleted"
        )
