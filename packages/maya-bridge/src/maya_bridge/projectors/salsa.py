"""SALSA: no speech positions; states of the acoustic model's units come into the LLM, in step with its text.

After Mittal et al. 2024 (SALSA) and its SKIP variant, here with a transducer or CTC in place of a decoder,
with a gate, and at the scale of the LLM's hidden states. Experimental: text and units advance together, so
an error of the acoustic hypothesis is seen by the LLM.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from maya_bridge.projectors import Lens, ProjectorOutput, UnitStates, check_positive
from maya_bridge.projectors.salsa_adapters import (
    GatedAdapter,
    SkipPredictor,
    SwiGLUReader,
    WindowReader,
    skip_loss,
)
from maya_bridge.unit_index import units_written

EVERY = 3


class SalsaProjector(nn.Module):
    """An adapter for each of some LLM layers; gives an injection instead of speech positions."""

    needs = frozenset({"units"})
    exact_lens = True

    def __init__(self, config: "Salsa", out_dim: int, state_dim: int):
        super().__init__()
        self.config, self.out_dim, self.state_dim = config, out_dim, state_dim
        self.ahead = 1 if config.skip == "none" else config.window
        self.norm = nn.LayerNorm(state_dim)
        self.offsets = (
            nn.Parameter(torch.randn(config.window, state_dim) * 0.1) if config.skip == "window" else None
        )
        self.predictor = SkipPredictor(state_dim, config.window) if config.skip == "predictor" else None
        self.consumed = nn.Embedding(config.consumed, state_dim) if config.consumed else None
        if self.consumed is not None:
            nn.init.normal_(self.consumed.weight, std=0.1)
        self.adapters = nn.ModuleDict()
        self._make_adapters([0] if config.layers is None else config.layers)

    @property
    def teacher_forced(self) -> bool:
        """Whether the units of the reference may be shown in training.

        States ahead of the text would give the answer away, so reading ahead needs the units of a hypothesis.
        """
        return self.ahead == 1

    @property
    def layers(self) -> tuple[int, ...]:
        """LLM layers after which states come in."""
        return tuple(map(int, self.adapters))

    def adopt_layers(self, num_layers: int) -> None:
        """Fit an LLM of `num_layers` layers; call it before the optimizer is made or weights are loaded.

        Raises:
            ValueError: a layer of the config that the LLM does not have.
        """
        if self.config.layers is None:
            self._make_adapters(range(0, num_layers, EVERY))
        elif max(self.config.layers) >= num_layers:
            found = max(self.config.layers)
            raise ValueError(f"`layers` of salsa must be below the LLM's number {num_layers}, got {found}")

    def _make_adapters(self, layers: "range | list[int]") -> None:
        """Make the adapters that are not there yet, and drop others."""
        kept = {str(layer): self.adapters[str(layer)] for layer in layers if str(layer) in self.adapters}
        made = {str(layer): kept.get(str(layer)) or GatedAdapter(self._reader()) for layer in layers}
        like = self.norm.weight
        self.adapters = nn.ModuleDict(made).to(device=like.device, dtype=like.dtype)

    def _reader(self) -> nn.Module:
        if self.config.skip == "window":
            return WindowReader(self.state_dim, self.out_dim, self.config.bottleneck, self.config.num_heads)
        return SwiGLUReader(self.state_dim, self.out_dim, self.config.bottleneck)

    def out_lens(self, lens: Lens) -> Lens:
        """Return zero: speech takes no LLM position."""
        return lens * 0

    def forward(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        ctc_log_probs: Tensor | None = None,
        units: UnitStates | None = None,
    ) -> ProjectorOutput:
        """Prepare the injection; needs `units`. The loss of the predictor is there after the LLM has run."""
        if units is None:
            raise ValueError("`units` must be given to the salsa projector, got None")
        nothing = encoder_out.new_zeros(len(encoder_out), 0, self.out_dim)
        aux: dict[str, Tensor] = {}
        states = self.norm(units.states.to(self.norm.weight.dtype))
        injection = SalsaInjection(self, states, units.unit_lens, units.char_ends, aux)
        return ProjectorOutput(nothing, self.out_lens(encoder_out_lens), aux, injection)


class SalsaInjection:
    """Mixes the states (B, U+1, Z) of one batch into the LLM's hidden states."""

    def __init__(
        self,
        projector: SalsaProjector,
        states: Tensor,
        unit_lens: Tensor,
        char_ends: Tensor,
        aux_losses: dict[str, Tensor],
    ):
        self.layers = projector.layers
        self.counts_characters = projector.consumed is not None
        self._char_ends = char_ends
        self._projector = projector
        self._states = states
        self._unit_lens = unit_lens
        self._aux_losses = aux_losses

    def select(self, rows: Tensor) -> "SalsaInjection":
        """Return the injection of an LLM batch whose rows are the utterances `rows` (B',)."""
        chosen = self._states[rows], self._unit_lens[rows], self._char_ends[rows]
        return SalsaInjection(self._projector, *chosen, {})

    def __call__(self, layer: int, hidden: Tensor, unit_index: Tensor) -> Tensor:
        """Return `hidden` (B, L, H) of `layer` with the states from `unit_index` (B, L) on mixed in."""
        index, characters = self._place(unit_index.to(self._unit_lens.device))
        states, valid = self._read(index)
        if self._projector.consumed is not None:
            states = states + self._projector.consumed(characters)[:, :, None]
        if self._projector.offsets is not None:
            states = states + self._projector.offsets
        if self._projector.predictor is not None:
            states, log_probs = self._projector.predictor(states, valid)
            if layer == self.layers[0] and self._projector.training:
                self._aux_losses["skip"] = skip_loss(log_probs, index)
        return self._projector.adapters[str(layer)](hidden, states, valid)  # type: ignore[no-any-return]

    def _place(self, written: Tensor) -> tuple[Tensor, Tensor]:
        """Return the units written (B, L), and the characters of the next one that are there already."""
        if self._projector.consumed is None:
            return written.clamp(min=0).minimum(self._unit_lens[:, None]), written
        units = units_written(written, self._char_ends, self._unit_lens)
        ends = torch.nn.functional.pad(self._char_ends, (1, 0))  # (B, 1 + U)
        beyond = written - ends.gather(1, units)
        return units, beyond.clamp(0, self._projector.consumed.num_embeddings - 1)

    def _read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states from each index on (B, L, W, Z), and whether there are so many (B, L, W)."""
        places = index[..., None] + torch.arange(self._projector.ahead, device=index.device)
        valid = places <= self._unit_lens[:, None, None]
        rows = torch.arange(len(index), device=index.device)[:, None, None]
        return self._states[rows, places.clamp(max=self._states.shape[1] - 1)], valid


@dataclass(kw_only=True)
class Salsa:
    """Config of the `salsa` projector."""

    name: str = "salsa"
    """Plugin name."""
    source: Literal["rnnt", "ctc"] = "rnnt"
    """Which head's states: the transducer's joint network (a TDT too), or CTC frames and weights."""
    skip: Literal["none", "window", "predictor"] = "none"
    """none: the state of the text so far. window: attention over the next states too. predictor: as many
    units further as a small network says. The latter two train on units of the head's own hypothesis."""
    window: int = 6
    """States that `window` sees, or that `predictor` chooses among."""
    layers: list[int] | None = None
    """LLM layers after which states come in; None means every third."""
    bottleneck: int = 256
    """Width inside an adapter."""
    num_heads: int = 4
    """Attention heads of `skip: window`; must divide `bottleneck`."""

    consumed: int = 0
    """Embeddings that tell apart LLM positions inside one unit, by how many of its characters are written
    already (0 up to one less than this, more count as that); 0 for none. For LLMs whose tokens are shorter
    than the units, as Gemma's are in Odia and Punjabi: 16."""

    def __post_init__(self) -> None:
        if self.consumed < 0:
            raise ValueError(f"`consumed` must be 0 or more, got {self.consumed}")
        check_positive(window=self.window, bottleneck=self.bottleneck, num_heads=self.num_heads)
        if self.source not in ("rnnt", "ctc"):
            raise ValueError(f"`source` must be rnnt or ctc, got {self.source}")
        if self.skip not in ("none", "window", "predictor"):
            raise ValueError(f"`skip` must be none, window or predictor, got {self.skip}")
        if self.bottleneck % self.num_heads:
            raise ValueError(f"`num_heads` must divide `bottleneck` {self.bottleneck}, got {self.num_heads}")
        if self.layers is not None and (not self.layers or min(self.layers) < 0):
            raise ValueError(f"`layers` must name LLM layers from 0 on, got {self.layers}")

    def build(
        self,
        in_dim: int,
        out_dim: int,
        embed_rms: float,
        vocab_size: int | None = None,
        state_dim: int | None = None,
    ) -> SalsaProjector:
        """Return the module."""
        if state_dim is None:
            raise ValueError(
                f"the salsa projector needs an acoustic model with a head {self.source}, got none"
            )
        return SalsaProjector(self, out_dim, state_dim)
