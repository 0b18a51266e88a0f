"""Which speakers exist and who speaks in which split.

A speaker is a voice variant of eSpeak NG: a filter, a pitch and a glottal source over one synthesiser, so a
test on new voices is easier than a test on new people.
"""

import difflib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from maya_data.synth import espeak
from maya_data.synth.errors import SynthesisError

# Variants that another one repeats: the mean absolute difference of their mean log spectra (32 bands, one
# sentence each of hi, en and ta, peak 1) is below 0.1, where two takes of one voice differ by 0.03 (median)
# and the next pair by 0.11. None of the 104 is broken by level (-8 to -30 dB), clipping (under 0.1 % of the
# samples) or duration of a sentence (0.76 to 1.4 times the plain voice).
LEFT_OUT = {
    "fast": "the plain voice (0.04)",
    "klatt6": "adam (0.03)",
    "robosoft3": "robosoft2 (0.08)",
}


@dataclass(frozen=True, kw_only=True)
class VoiceSets:
    """The speakers of each split; no speaker is in two."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        everyone = [*self.train, *self.valid, *self.test]
        twice = sorted({name for name in everyone if everyone.count(name) > 1})
        if twice:
            raise SynthesisError(f"voice {twice[0]!r} stands twice; each voice belongs to one split")


def available() -> list[str]:
    """Every variant in the data folder, sorted; names are case-sensitive."""
    return sorted(path.name for path in (espeak.data_folder() / "voices" / "!v").iterdir() if path.is_file())


def check(names: Sequence[str]) -> None:
    """Refuse a name that has no file: eSpeak NG itself would speak on with the plain voice."""
    known = available()
    for name in names:
        if name not in known:
            same = [other for other in known if other.lower() == name.lower()]
            close = same or difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SynthesisError(f"eSpeak NG has no voice variant {name!r}{hint}")


def draw(seed: int, *, num_valid: int = 8, num_test: int = 10) -> VoiceSets:
    """Voices of the splits, drawn at random: first test, then valid, the rest train."""
    check(list(LEFT_OUT))
    names = [name for name in available() if name not in LEFT_OUT]
    random.Random(f"voices {seed}").shuffle(names)
    test, valid, train = (
        names[:num_test],
        names[num_test : num_test + num_valid],
        names[num_test + num_valid :],
    )
    return VoiceSets(train=tuple(sorted(train)), valid=tuple(sorted(valid)), test=tuple(sorted(test)))
