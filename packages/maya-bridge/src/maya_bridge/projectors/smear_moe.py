"""Soft-merged experts: each utterance is projected by its own mixture of the experts' weights.

SMEAR (Muqeeth et al. 2023) merges weights instead of picking experts, so every expert gets a gradient from
every utterance; as a projector for several Indic languages it is in arXiv 2601.19451.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_bridge.projectors import Lens, ProjectorOutput, UnitStates, check_positive, valid_mask
from maya_bridge.projectors.strided import convolved, strided_conv, strided_lens


class MergedLinear(nn.Module):
    """Linear layers of `num_experts` experts, applied as one whose weight is their mixture."""

    def __init__(self, num_experts: int, in_dim: int, out_dim: int):
        super().__init__()
        # An even mixture of independent weights is smaller than each of them by the root of their number.
        scale = (num_experts / in_dim) ** 0.5
        self.weight = nn.Parameter(torch.randn(num_experts, in_dim, out_dim) * scale)
        self.bias = nn.Parameter(torch.zeros(num_experts, out_dim))

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """Map (B, Q, D) with the experts mixed by `shares` (B, experts)."""
        weight = (shares @ self.weight.flatten(1)).view(len(shares), *self.weight.shape[1:])
        return torch.baddbmm((shares @ self.bias)[:, None], x, weight)


class SmearedExperts(nn.Module):
    """A shared strided convolution, a router over the whole utterance, merged experts, fixed output scale."""

    needs: frozenset[str] = frozenset()
    exact_lens = True

    def __init__(self, config: "SmearMoE", in_dim: int, out_dim: int, embed_rms: float):
        super().__init__()
        hidden_size, experts = config.hidden_size or out_dim, config.num_experts
        self.stride, self.balance = config.stride, config.balance
        self.conv = strided_conv(in_dim, config.stride)
        self.norm = nn.LayerNorm(in_dim)
        self.router = nn.Linear(in_dim, experts)
        self.first = MergedLinear(experts, in_dim, hidden_size)
        self.second = MergedLinear(experts, hidden_size, out_dim)
        self.scale = nn.Parameter(torch.tensor(float(embed_rms)))

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
        """Project with the experts that the mean of the utterance's frames asks for."""
        frames = self.norm(convolved(self.conv, encoder_out, encoder_out_lens))  # (B, Q, D)
        lens = self.out_lens(encoder_out_lens)
        shares = self._shares(frames, lens)
        mixed = self.second(F.silu(self.first(frames, shares)), shares)
        speech_embeds = F.rms_norm(mixed, mixed.shape[-1:], eps=1e-6) * self.scale  # (B, Q, H)
        return ProjectorOutput(speech_embeds, lens, self._aux_losses(shares))

    def _shares(self, frames: Tensor, lens: Tensor) -> Tensor:
        """Return how much of each expert an utterance gets (B, experts)."""
        outside = ~valid_mask(lens, frames.shape[1])
        mean = frames.masked_fill(outside[..., None], 0).sum(dim=1) / lens.clamp(min=1)[:, None]
        return cast(Tensor, self.router(mean.to(frames.dtype))).softmax(dim=-1)

    def _aux_losses(self, shares: Tensor) -> dict[str, Tensor]:
        """Zero where the batch uses all experts alike, `num_experts` - 1 where it uses one; weighted."""
        uneven = shares.shape[1] * shares.float().mean(dim=0).square().sum() - 1
        return {"load_balance": self.balance * uneven}


@dataclass(kw_only=True)
class SmearMoE:
    """Config of the `smear_moe` projector."""

    name: str = "smear_moe"
    """Plugin name."""
    num_experts: int = 4
    """Experts to mix."""
    stride: int = 2
    """Encoder frames per speech position."""
    hidden_size: int | None = None
    """Width inside an expert; None means the LLM's width."""
    balance: float = 0.01
    """Weight of the loss that keeps all experts in use; 0 leaves it out."""

    def __post_init__(self) -> None:
        check_positive(num_experts=self.num_experts, stride=self.stride, hidden_size=self.hidden_size)
        if self.balance < 0:
            raise ValueError(f"`balance` must be 0 or more, got {self.balance}")

    def build(
        self,
        in_dim: int,
        out_dim: int,
        embed_rms: float,
        vocab_size: int | None = None,
        state_dim: int | None = None,
    ) -> SmearedExperts:
        """Return the module."""
        return SmearedExperts(self, in_dim, out_dim, embed_rms)
