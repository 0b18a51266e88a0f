"""Stacked frames and MLP: `stride` neighbouring frames, one after the other, make one speech position."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from maya_bridge.projectors import (
    Lens,
    ProjectorOutput,
    UnitStates,
    check_positive,
    scaled_mlp,
    valid_mask,
)
from maya_bridge.projectors.strided import strided_lens


class StackMLP(nn.Module):
    """LayerNorm-Linear-SiLU-Linear of stacked frames, at the scale of the LLM's embeddings."""

    needs: frozenset[str] = frozenset()
    exact_lens = True

    def __init__(self, in_dim: int, hidden_size: int, out_dim: int, stride: int, embed_rms: float):
        super().__init__()
        self.stride = stride
        self.mlp = scaled_mlp(stride * in_dim, hidden_size, out_dim, embed_rms)

    def out_lens(self, lens: Lens) -> Lens:
        """Return ceil(lens / stride)."""
        return strided_lens(lens, self.stride)

    def forward(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        ctc_log_probs: Tensor | None = None,
        units: UnitStates | None = None,
    ) -> ProjectorOutput:
        """Stack and project; padding is set to zero first, so it never leaks into a valid position."""
        batch, frames = encoder_out.shape[:2]
        padding = ~valid_mask(encoder_out_lens, frames)
        clean = F.pad(encoder_out.masked_fill(padding[..., None], 0), (0, 0, 0, -frames % self.stride))
        speech_embeds = self.mlp(clean.reshape(batch, -1, self.stride * clean.shape[2]))  # (B, Q, H)
        return ProjectorOutput(speech_embeds, self.out_lens(encoder_out_lens))


@dataclass(kw_only=True)
class Stack:
    """Config of the `stack` projector."""

    name: str = "stack"
    """Plugin name."""
    stride: int = 4
    """Encoder frames in a speech position."""
    hidden_size: int | None = None
    """Width between the two linear layers; None means the LLM's width."""

    def __post_init__(self) -> None:
        check_positive(stride=self.stride, hidden_size=self.hidden_size)

    def build(
        self,
        in_dim: int,
        out_dim: int,
        embed_rms: float,
        vocab_size: int | None = None,
        state_dim: int | None = None,
    ) -> StackMLP:
        """Return the module."""
        return StackMLP(in_dim, self.hidden_size or out_dim, out_dim, self.stride, embed_rms)
