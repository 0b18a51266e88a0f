"""What a loader saves: a few integers, and digests by which another index, mix or seed is noticed."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1
PARTS = {
    "seed": "the seed",
    "index": "the index",
    "mix": "the mix",
    "filter": "the filter (or the version of the quarantine)",
    "batches": "the shape of the batches",
}
"""Parts of a plan, in the order in which a difference is looked for, and what they are called."""


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """The position of all ranks; they save the same."""

    version: int = VERSION
    epoch: int
    step: int
    """Batches of the epoch that each rank has given out."""
    world_size: int
    mask: int
    """Version of the quarantine that the epoch leaves out."""
    parts: Mapping[str, str]
    """Digest of each part of the plan."""

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> "LoaderState":
        """Return the state that `to_dict` wrote.

        Raises:
            ValueError: It is none, or one of another version of this package.
        """
        names = set(cls.__dataclass_fields__)
        if missing := sorted(names - state.keys()):
            raise ValueError(f"this is no state of a loader: it has no {missing[0]!r}")
        if state["version"] != VERSION:
            raise ValueError(
                f"the loader's state has version {state['version']}, this package reads {VERSION}"
            )
        for name in ("epoch", "step", "world_size", "mask"):
            if not isinstance(state[name], int) or state[name] < (name == "world_size"):
                raise ValueError(f"the loader's state has {name} {state[name]!r}, which cannot be")
        return cls(**{name: state[name] for name in names})

    def to_dict(self) -> dict[str, Any]:
        """Return it as numbers, texts and one mapping of texts."""
        return asdict(self) | {"parts": dict(self.parts)}

    def check(self, parts: Mapping[str, str]) -> None:
        """Refuse to go on with another plan.

        Raises:
            ValueError: A part of the plan differs; the message says which.
        """
        for name in [*PARTS, *sorted({*parts, *self.parts} - {*PARTS})]:
            if self.parts.get(name) != parts.get(name):
                raise ValueError(
                    f"the loader's state does not fit: {PARTS.get(name, name)} differs from that of the run "
                    f"that saved it (digest {self.parts.get(name)}, now {parts.get(name)})"
                )

    def step_for(self, world_size: int) -> int:
        """Return the step at which another number of ranks goes on.

        Where the state stands inside the batches that these ranks would read at once, they read them again;
        a warning says so.
        """
        step, again = divmod(self.step * self.world_size, world_size)
        if again:
            warnings.warn(
                f"the loader's state stands {again} batches into a step of {world_size} ranks; "
                "these are read again",
                stacklevel=3,
            )
        return step
