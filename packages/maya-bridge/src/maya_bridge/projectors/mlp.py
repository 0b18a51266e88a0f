"""Strided convolution and MLP: the default projector, one speech position for `stride` encoder frames."""

from dataclasses import dataclass

from torch import Tensor, nn

from maya_bridge.projectors import Lens, ProjectorOutput, UnitStates, check_positive, scaled_mlp
from maya_bridge.projectors.strided import convolved, strided_conv, strided_lens


class ConvMLP(nn.Module):
    """Conv1d over time, then LayerNorm-Linear-SiLU-Linear at the scale of the LLM's embeddings."""

    needs: frozenset[str] = frozenset()
    exact_lens = True

    def __init__(self, in_dim: int, hidden_size: int, out_dim: int, stride: int, embed_rms: float):
        super().__init__()
        self.stride = stride
        self.conv = strided_conv(in_dim, stride)
        self.mlp = scaled_mlp(in_dim, hidden_size, out_dim, embed_rms)

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
        """Project the frames."""
        speech_embeds = self.mlp(convolved(self.conv, encoder_out, encoder_out_lens))  # (B, Q, H)
        return ProjectorOutput(speech_embeds, self.out_lens(encoder_out_lens))


@dataclass(kw_only=True)
class MLPProjector:
    """Config of the `mlp` projector."""

    name: str = "mlp"
    """Plugin name."""
    stride: int = 2
    """Encoder frames per speech position."""
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
    ) -> ConvMLP:
        """Return the module."""
        return ConvMLP(in_dim, self.hidden_size or out_dim, out_dim, self.stride, embed_rms)
