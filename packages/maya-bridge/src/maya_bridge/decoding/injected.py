"""Speech that goes into the layers of an LLM while it writes, and how far its text has come."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from maya_bridge.projectors import Injection, UnitStates
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.unit_index import Progress

Ids = list[list[int]]


@dataclass(frozen=True)
class Injected:
    """Speech that is added inside the LLM: the injection, and how far each written token has come.

    `count_units(ids, rows)` gives for each token of `ids` (written by the prompts numbered `rows` (B,)) how
    many acoustic units are all written once it is there (or characters, where the injection counts those),
    before them a column for the prompt, as units that write no character are there from the start;
    (B, 1 + longest of ids).
    """

    injection: Injection
    count_units: Callable[[Ids, Tensor], Tensor]


def injected_by(
    injection: Injection | None, units: UnitStates | None, tokenizer: LLMTokenizer
) -> Injected | None:
    """Return the injection of a projector's output as an LLMRun takes it; None where there is none."""
    if injection is None or units is None:
        return None

    progress = Progress(injection, tokenizer)

    def count_units(ids: Ids, rows: Tensor) -> Tensor:
        places = rows.to(units.char_ends.device)
        with_prompt = [[tokenizer.pad_id, *row] for row in ids]
        return progress(with_prompt, units.char_ends[places], units.unit_lens[places])

    return Injected(injection, count_units)
