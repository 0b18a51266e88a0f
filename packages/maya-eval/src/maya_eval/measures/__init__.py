"""Measures beside WER and CER, each made of integers an utterance that are summed before any division.

`script`: letters in the script of the language. `codeswitch`: errors on Latin and native words apart.
`hallucination`: what was made up. `spacing`: WER that forgives where words are parted. `variants` (needs a
lattice file, see variants.py): WER that forgives other accepted spellings. None of them replaces strict WER.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from maya_eval.measures import codeswitch, hallucination, script, spacing, variants
from maya_eval.measures.measure import Measure

__all__ = ["MEASURES", "Measure", "choose"]

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (script.MEASURE, codeswitch.MEASURE, hallucination.MEASURE, spacing.MEASURE)
}


def choose(names: Iterable[str], lattice: Path | None = None) -> Sequence[Measure]:
    """Returns measures by name; `all` is every one that the input allows.

    Raises:
        ValueError: an unknown name, or `variants` without a lattice file.
    """
    wanted = list(dict.fromkeys(names))
    if "all" in wanted:
        wanted = [*MEASURES, *(["variants"] if lattice else [])]
    if lattice and "variants" not in wanted:
        wanted.append("variants")
    for name in wanted:
        if name not in (*MEASURES, "variants"):
            raise ValueError(
                f"no measure named {name!r}; there are: {', '.join([*MEASURES, 'variants'])}, all"
            )
        if name == "variants" and lattice is None:
            raise ValueError("the measure 'variants' needs a file of accepted spellings; give --lattice FILE")
    chosen = [MEASURES[name] for name in wanted if name in MEASURES]
    return [*chosen, variants.measure(lattice)] if lattice else chosen
