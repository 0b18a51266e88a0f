"""The modules of a run by their names: which there are, which train, what the loss of each head weighs."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from math import inf
from typing import NamedTuple

LANGUAGE_PROMPT = "language_prompt"
FIRST, LAST = ("encoder",), (LANGUAGE_PROMPT, "projector", "llm")
FROM = "_from"
"""`loss.<head>_from`: when the loss of a head enters."""


class HeadLoss(NamedTuple):
    """How the loss of a head counts."""

    weight: float
    """In the sum of the heads' losses; 0 leaves it out."""
    begin: float
    """Fraction of the steps after which it enters."""

    def first_step(self, total: int) -> int:
        """The step of `total` at which it enters."""
        return round(self.begin * total)


def check_names(train: Sequence[str], rates: Mapping[str, float], heads: Collection[str]) -> None:
    """Refuse modules that `train` or `lr` name and that are not there, and those that train without a rate.

    Args:
        train: names of modules that train.
        rates: peak learning rates by the names of modules.
        heads: names of the heads; empty where they are not known, which leaves them unchecked.

    Raises:
        ValueError: one sentence on the first of them.
    """
    known = (*FIRST, *heads, *LAST)
    for module in rates:
        if heads and module not in known:
            raise ValueError(f"`lr` knows the modules {', '.join(known)}, got {module!r}")
        if not 0 <= rates[module] < inf:
            raise ValueError(f"`lr.{module}` must be 0 or more and finite, got {rates[module]}")
    for module in train:
        if train.count(module) > 1:
            raise ValueError(f"`train` names {module!r} twice; once is enough")
        if heads and module not in known:
            raise ValueError(f"`train` names {module!r}, but `heads` has only {', '.join(heads)}")
        if module not in rates:
            raise ValueError(f"`lr` has no rate for {module!r}, which this stage trains; add lr.{module}=")


def head_losses(
    loss: Mapping[str, float], heads: Collection[str], train: Collection[str]
) -> dict[str, HeadLoss]:
    """How the loss of each head counts.

    Args:
        loss: a weight for each head by its name, and `<head>_from` where it enters later than at once.
        heads: names of the model's heads.
        train: names of the modules that train.

    Raises:
        ValueError: a name that is no head's, a head without a weight, or a number without a meaning.
    """
    for key, value in loss.items():
        if key.removesuffix(FROM) not in heads and key not in heads:
            hint = f". Did you mean {close[0]!r}?" if (close := get_close_matches(key, heads, 1)) else ""
            raise ValueError(f"`loss` weighs {key!r}, but the heads are {', '.join(heads)}{hint}")
        if key not in heads and not 0 <= value <= 1:
            raise ValueError(f"`loss.{key}` must be between 0 and 1, got {value}")
        if key in heads and not value >= 0:
            raise ValueError(f"`loss.{key}` must be 0 or more, got {value}")
    for head in heads:
        if head not in loss:
            raise ValueError(
                f"`loss` has no weight for the head {head!r}; add loss.{head}= (0 leaves it out)"
            )
        if head in train and not loss[head]:
            raise ValueError(f"`loss.{head}` is 0, but this stage trains {head}; give it a weight")
    return {head: HeadLoss(loss[head], loss.get(f"{head}{FROM}", 0.0)) for head in heads}
