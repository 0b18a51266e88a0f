"""The utterances of the page as one compressed block, which the page unpacks and draws a few rows at a time.

The block is gzip: a JSON header with the numbers, then row after row of texts. The texts of an utterance
lie side by side because they are alike, which is what makes the block small. Control characters become their
pictures: they can neither break the block nor hide on the page.
"""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maya_eval.edits import align_words
from maya_eval.report.markup import head_label
from maya_eval.scores import Scored
from maya_eval.worst import Failing

ROW, CELL = "\x1d", "\x1e"
"""What separates rows, and the cells of a row."""
PICTURES = (
    {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"} | dict.fromkeys(b"\t\n\r", " ")
)
OPS = {"equal": "=", "replace": "s", "delete": "d", "insert": "i"}


@dataclass(frozen=True)
class Utterances:
    """The outputs of all systems by utterance, the worst first."""

    systems: tuple[str, ...]
    items: list[dict[str, Scored]]
    """System -> its output; a system that lacks the utterance is absent."""

    def failing(self) -> Iterable[Failing]:
        """Yields the errors of each utterance over all systems."""
        for outputs in self.items:
            first = next(iter(outputs.values()))
            errors = sum(item.words.errors for item in outputs.values())
            yield Failing(first.hypothesis.utt_id, first.hypothesis.lang, errors, first.words.ref)


def gather(scored: Mapping[str, Sequence[Scored]]) -> Utterances:
    """Returns the utterances of all systems.

    Raises:
        ValueError: two systems have different references for one utterance.
    """
    by_id: dict[str, dict[str, Scored]] = {}
    for system, items in scored.items():
        for item in items:
            outputs = by_id.setdefault(item.hypothesis.utt_id, {})
            first = next(iter(outputs.values()), item)
            if first.ref != item.ref:
                raise ValueError(
                    f"utterance {item.hypothesis.utt_id!r} has two references: {first.ref!r} and {item.ref!r}"
                )
            outputs[system] = item
    worst = sorted(by_id.values(), key=lambda outputs: -sum(item.words.errors for item in outputs.values()))
    return Utterances(tuple(scored), worst)


def pack(utterances: Utterances, sound: Mapping[str, str]) -> bytes:
    """Returns the compressed block.

    Args:
        utterances: what to show.
        sound: utterance id -> number of an embedded clip ("#3") or address of a file.
    """
    items = utterances.items
    firsts = [next(iter(outputs.values())) for outputs in items]
    names = {
        "lang": [item.hypothesis.lang for item in firsts],
        "speaker": [item.hypothesis.speaker or "" for item in firsts],
        "benchmark": [item.hypothesis.column("benchmark") for item in firsts],
    }
    header: dict[str, Any] = {
        "systems": [head_label(system) for system in utterances.systems],
        "count": len(items),
    }
    header |= {name: _numbered(values) for name, values in names.items()}
    header["sound"] = len(sound)
    header["seconds"] = [round(item.hypothesis.duration or 0, 2) for item in firsts]
    header["words"] = [item.words.ref for item in firsts]
    header["errors"] = [
        [outputs[system].words.errors if system in outputs else None for outputs in items]
        for system in utterances.systems
    ]
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    rows = (_row(outputs, utterances.systems, sound) for outputs in items)
    return gzip.compress(ROW.join([head, *rows]).encode(errors="replace"), compresslevel=6, mtime=0)


def _row(outputs: Mapping[str, Scored], systems: Sequence[str], sound: Mapping[str, str]) -> str:
    """Returns id, sound, reference and its raw text, then for each system text, raw text and alignment.

    A raw text that equals the other is left out.
    """
    first = next(iter(outputs.values()))
    utt_id = first.hypothesis.utt_id
    cells = [utt_id, sound.get(utt_id, ""), first.ref, _unless(first.hypothesis.text, first.ref)]
    for system in systems:
        item = outputs.get(system)
        cells += (
            ["", "", ""]
            if item is None
            else [item.hyp, _unless(item.hypothesis.pred_text, item.hyp), alignment(item)]
        )
    return CELL.join(cell.translate(PICTURES) for cell in cells)


def _unless(raw: str, scored: str) -> str:
    return "" if raw == scored else raw or " "


def alignment(item: Scored) -> str:
    """Returns the word alignment as runs: `=3s1d2i1` is three right, one other, two missed, one made up."""
    return "".join(f"{OPS[op]}{len(ref) or len(hyp)}" for op, ref, hyp in align_words(item.ref, item.hyp))


def _numbered(values: Sequence[str]) -> dict[str, Any]:
    """Returns the names that occur, and for each value the number of its name."""
    names = {name: i for i, name in enumerate(sorted(set(values)))}
    return {"names": list(names), "of": [names[value] for value in values]}
