"""Variant-tolerant WER: other accepted spellings match at no cost, as in OIWER (arXiv 2603.00941).

The accepted spellings come from a file of JSON lines, of two kinds that may be mixed:
`{"lang": "hi", "variants": ["A", "B C"]}` - spellings that may stand for one another wherever one of them
is in a reference of that language (of any, without `lang`); a spelling may be of several words.
`{"utt_id": "u1", "lattice": [["A", "B"], ["C", ""]]}` - the reference of one utterance, a list of
alternatives for each place; an empty alternative makes the place optional. Spellings are normalised with
the profile. The words of the strict reference stay the denominator.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from maya_eval.counting import Scored
from maya_eval.measures.measure import Figures, Measure, Totals, share
from maya_eval.measures.spacing import LARGEST
from maya_eval.normalize import profile as find_profile

Words = tuple[str, ...]
Edges = Mapping[int, Sequence[tuple[int, Words]]]
"""Edges of a lattice by where they start: where each ends, and its words."""


@dataclass(frozen=True)
class Lattice:
    """The accepted spellings as they stand in the file."""

    classes: list[tuple[str, list[str]]] = field(default_factory=list)
    """Language (empty: any) and spellings."""
    utterances: dict[str, list[list[str]]] = field(default_factory=dict)


def read_lattice(path: Path) -> Lattice:
    """Returns the accepted spellings of a file; a line that cannot be used is named."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; JSON lines with `variants` or `utt_id` and `lattice` expected"
        )
    lattice = Lattice()
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            _add_line(lattice, line, f"{path}:{number}")
    if not lattice.classes and not lattice.utterances:
        raise ValueError(f"{path}: no accepted spellings in it")
    return lattice


def _add_line(lattice: Lattice, line: bytes, where: str) -> None:
    try:
        row = json.loads(line.decode())
    except ValueError as error:
        raise ValueError(f"{where}: not a JSON object in UTF-8 ({error})") from error
    row = row if isinstance(row, dict) else {}
    if _is_texts(row.get("variants")) and len(row["variants"]) > 1:
        lattice.classes.append((str(row.get("lang") or ""), row["variants"]))
    elif isinstance(row.get("utt_id"), str) and _is_places(row.get("lattice")):
        if row["utt_id"] in lattice.utterances:
            raise ValueError(f"{where}: utt_id {row['utt_id']!r} has a lattice already")
        lattice.utterances[row["utt_id"]] = row["lattice"]
    else:
        raise ValueError(
            f"{where}: `variants` (two or more texts), or `utt_id` and `lattice` (lists of texts), expected"
        )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_places(value: Any) -> bool:
    return isinstance(value, list) and all(_is_texts(place) for place in value)


def fewest_errors(edges: Edges, last: int, hyp: Sequence[str]) -> int:
    """Returns the word errors of an output against the path of a lattice that is nearest to it.

    Args:
        edges: of an acyclic lattice from node 0 to node `last`; they lead to higher nodes.
        last: the final node.
        hyp: the output's words.
    """
    rows: dict[int, list[int]] = {0: list(range(len(hyp) + 1))}
    for node in range(last):
        if node not in rows:
            continue
        for end, words in edges.get(node, ()):
            row = rows[node]
            for word in words:
                row = _step(row, word, hyp)
            rows[end] = list(map(min, rows[end], row)) if end in rows else row
    return rows[last][-1]


def _step(row: list[int], word: str, hyp: Sequence[str]) -> list[int]:
    """One row of the edit distance table further."""
    following = [row[0] + 1]
    for place, other in enumerate(hyp):
        following.append(min(row[place + 1] + 1, following[place] + 1, row[place] + (word != other)))
    return following


class _Counter:
    """Counts by a lattice; spellings are normalised once a profile and language."""

    def __init__(self, lattice: Lattice) -> None:
        self.lattice = lattice
        self.spellings = cache(self._spellings)

    def __call__(self, item: Scored) -> tuple[int, ...]:
        if not item.words.errors:
            return item.words.ref, 0
        hyp = item.hyp.split()
        if item.words.ref * len(hyp) > LARGEST:
            return item.words.ref, item.words.errors
        edges, last = self._edges(item)
        return item.words.ref, min(item.words.errors, fewest_errors(edges, last, hyp))

    def _edges(self, item: Scored) -> tuple[Edges, int]:
        row = item.hypothesis
        ref = item.ref.split()
        edges: dict[int, list[tuple[int, Words]]] = defaultdict(list)
        if (places := self.lattice.utterances.get(row.utt_id)) is not None:
            normalize = find_profile(item.profile)
            for node, place in enumerate(places):
                edges[node] = [(node + 1, tuple(normalize(text, row.lang).split())) for text in place]
            return edges, len(places)
        spellings = self.spellings(item.profile, row.lang)
        for node, word in enumerate(ref):
            edges[node].append((node + 1, (word,)))
            for words, others in spellings.get(word, ()):
                if tuple(ref[node : node + len(words)]) == words:
                    edges[node] += [(node + len(words), other) for other in others]
        return edges, len(ref)

    def _spellings(self, profile: str, lang: str) -> Mapping[str, list[tuple[Words, list[Words]]]]:
        """By first word: a spelling, and those that may stand for it."""
        normalize = find_profile(profile)
        found: dict[str, list[tuple[Words, list[Words]]]] = defaultdict(list)
        for language, texts in self.lattice.classes:
            if language in ("", lang):
                words = [spelling for text in texts if (spelling := tuple(normalize(text, lang).split()))]
                for spelling in dict.fromkeys(words):
                    found[spelling[0]].append((spelling, [other for other in words if other != spelling]))
        return found


def _figures(totals: Totals) -> Figures:
    return {"wer": share(totals["errors"], totals["words"]), "errors": totals["errors"]}


def measure(path: Path) -> Measure:
    """Returns the measure for a file of accepted spellings."""
    return Measure("variants", ("words", "errors"), _Counter(read_lattice(path)), _figures)
