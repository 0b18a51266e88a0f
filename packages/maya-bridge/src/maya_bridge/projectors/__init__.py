"""What a projector is: the contract, its result, and the two small helpers that the projectors here share.

A projector turns encoder frames into vectors in the LLM's embedding space. Each has its own module and is
found through the entry-point group `maya.projectors`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from maya_encoder.prefix_states import UnitStates as UnitStates

Lens = TypeVar("Lens", int, Tensor)


class Injection(Protocol):
    """Adds speech to the LLM's hidden states instead of its input; only some projectors return one."""

    layers: tuple[int, ...]

    def __call__(self, layer: int, hidden: Tensor, unit_index: Tensor) -> Tensor:
        """Return `hidden` (B, L, H) of `layer` with the states at `unit_index` (B, L) mixed in.

        An injection with `counts_characters = True` is given the characters written, not the units.
        """

    def select(self, rows: Tensor) -> "Injection":
        """Return the injection of an LLM batch whose rows are of utterances `rows` (B',), as in a beam."""


@dataclass(frozen=True)
class ProjectorOutput:
    """Speech positions (B, Q, H) with their lengths (B,), other losses by name, an injection or None.

    An injection may add to `aux_losses` while the LLM runs: read them afterwards.
    """

    speech_embeds: Tensor
    speech_embeds_lens: Tensor
    aux_losses: Mapping[str, Tensor] = field(default_factory=dict)
    injection: Injection | None = None


@runtime_checkable
class Projector(Protocol):
    """The contract.

    A projector may have more, which SpeechLLM then uses. `adopt_pieces(piece_embeds (V-1, H))` takes the
    LLM's embeddings of the CTC pieces. `adopt_layers(num_layers)` makes the parts that depend on the LLM's
    depth. `teacher_forced`, where it is false, says that in training too `units` must be those of the
    acoustic hypothesis, since the projector reads ahead of the text.
    """

    needs: frozenset[str]
    """A subset of {"ctc", "units"}: what `forward` wants besides the frames."""
    exact_lens: bool
    """Whether `out_lens` is exact or an upper bound that the data decide."""

    def __call__(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        ctc_log_probs: Tensor | None = None,
        units: UnitStates | None = None,
    ) -> ProjectorOutput:
        """Project (B, T, D) frames to (B, Q, H) speech positions."""

    def out_lens(self, lens: Lens) -> Lens:
        """Return the number of speech positions for `lens` frames."""


class ProjectorConfig(Protocol):
    """A projector plugin: a dataclass with a name, defaults, and `build`."""

    name: str

    def build(
        self,
        in_dim: int,
        out_dim: int,
        embed_rms: float,
        vocab_size: int | None = None,
        state_dim: int | None = None,
    ) -> nn.Module:
        """Return the module; `embed_rms` is the RMS of the LLM's scaled token embeddings."""


def valid_mask(lens: Tensor, size: int) -> Tensor:
    """Return a (B, size) mask that is True where a position exists."""
    return torch.arange(size, device=lens.device)[None] < lens[:, None]


def check_positive(**values: int | None) -> None:
    """Raise a ValueError for the first value that is given and below 1."""
    for key, value in values.items():
        if value is not None and value < 1:
            raise ValueError(f"`{key}` must be 1 or more, got {value}")


def scaled_mlp(in_dim: int, hidden_size: int, out_dim: int, rms: float) -> nn.Sequential:
    """Return LayerNorm-Linear-SiLU-Linear whose output has about the RMS `rms` for any input scale.

    The last layer is rescaled once on fixed random input: token embeddings and speech vectors of one scale
    are what lets the LLM read both. The global random state is left alone by the draw.
    """
    mlp = nn.Sequential(
        nn.LayerNorm(in_dim), nn.Linear(in_dim, hidden_size), nn.SiLU(), nn.Linear(hidden_size, out_dim)
    )
    probe = torch.randn(256, in_dim, generator=torch.Generator().manual_seed(0))
    last = mlp[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        ratio = rms / mlp(probe).square().mean().sqrt()
        last.weight.mul_(ratio)
        last.bias.mul_(ratio)
    return mlp
