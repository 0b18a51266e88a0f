"""A projector for Maya: two neighbouring frames become one speech position, weighed by a gate."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_bridge.projectors import ProjectorOutput, UnitStates, scaled_mlp, valid_mask


@dataclass(kw_only=True)
class PairGate:
    """The settings; every field has a default and can be set in a recipe or on the command line."""

    name: str = "pair_gate"
    """Entry-point name."""
    hidden_size: int = 256
    """Width of the layer between."""

    def __post_init__(self) -> None:
        if self.hidden_size < 1:
            raise ValueError(f"`hidden_size` must be 1 or more, got {self.hidden_size}")

    def build(
        self,
        in_dim: int,
        out_dim: int,
        embed_rms: float,
        vocab_size: int | None = None,
        state_dim: int | None = None,
    ) -> "PairGateModule":
        """The projector from frames of width `in_dim` to the LLM's width.

        Args:
            in_dim: width of the encoder's frames.
            out_dim: width of the LLM's embeddings.
            embed_rms: their root mean square, which speech positions shall have too.
            vocab_size: of the CTC head; for projectors whose `needs` name `ctc`.
            state_dim: width of unit states; for projectors whose `needs` name `units`.
        """
        return PairGateModule(in_dim, out_dim, embed_rms, self.hidden_size)


class PairGateModule(nn.Module):
    """What trains."""

    needs: frozenset[str] = frozenset()
    exact_lens = True

    def __init__(self, in_dim: int, out_dim: int, embed_rms: float, hidden_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(in_dim, 1)
        self.mlp = scaled_mlp(in_dim, hidden_size, out_dim, embed_rms)

    def out_lens(self, lens: Tensor) -> Tensor:
        """Speech positions for `lens` frames, as integers: batches are planned with it."""
        return (lens + 1) // 2

    def forward(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        ctc_log_probs: Tensor | None = None,
        units: UnitStates | None = None,
    ) -> ProjectorOutput:
        """Frames (B, T, D) to speech positions (B, Q, H); padding must not change what is real."""
        real = valid_mask(encoder_out_lens, encoder_out.shape[1])[..., None]  # (B, T, 1)
        scores = self.gate(encoder_out).masked_fill(~real, -1e4)
        missing = encoder_out.shape[1] % 2
        frames = F.pad(encoder_out.masked_fill(~real, 0), (0, 0, 0, missing)).unflatten(1, (-1, 2))
        weights = F.pad(scores, (0, 0, 0, missing), value=-1e4).unflatten(1, (-1, 2)).softmax(dim=2)
        merged = torch.sum(frames * weights, dim=2)  # (B, Q, D)
        return ProjectorOutput(self.mlp(merged), self.out_lens(encoder_out_lens))
