"""FastConformer (arXiv 2305.05084) and, with other settings, the classic Conformer.

Parameter names are NeMo's without the leading `encoder.`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from maya_encoder.attention import (
    Context,
    ContextStyle,
    FullAttention,
    RelPositionAttention,
    Scope,
    hidden_pairs,
    relative_positions,
)
from maya_encoder.conformer import ConformerBlock, ConvNorm, Convolution, FeedForward
from maya_encoder.dropout import Dropout
from maya_encoder.layout import Layout, lay_out
from maya_encoder.local_attention import LocalAttention
from maya_encoder.recompute import recomputed
from maya_encoder.subsampling import Subsampling, depthwise_striding, full_striding, subsampled_lens

AttentionKind = Literal["rel_pos", "rel_pos_local_attn"]
LangEmbedding = Literal["none", "input", "output"]


class EncoderOutput(NamedTuple):
    """Frames that know their context; unpacks like a pair."""

    encoder_out: Tensor
    """(B, T, D), zeros behind each utterance."""
    encoder_out_lens: Tensor
    """Frames of each utterance, (B,)."""


@dataclass(kw_only=True)
class FastConformerConfig:
    """Sizes and choices of a FastConformer."""

    name: str = "fastconformer"
    """The plugin's name."""
    num_layers: int = 17
    """Conformer blocks."""
    hidden_size: int = 512
    """Width of a frame."""
    num_heads: int = 8
    """Attention heads; they divide `hidden_size`."""
    ff_expansion: int = 4
    """Inner width of the feed-forward modules, in multiples of `hidden_size`."""
    conv_kernel: int = 9
    """Frames under the depthwise convolution; odd (9 in FastConformer, 31 in Conformer)."""
    conv_norm: ConvNorm = "batch_norm"
    """Norm inside the convolution module."""
    subsampling: Literal["dw_striding", "striding"] = "dw_striding"
    """Depthwise-separable strides (FastConformer) or full convolutions (Conformer)."""
    subsampling_factor: int = 8
    """Features to one frame; a power of two."""
    subsampling_channels: int = 256
    """Channels of the subsampling convolutions."""
    masked_subsampling: bool = True
    """Clear padding before every stride; false for checkpoints that go with the legacy front end."""
    conv_chunking: int = 0
    """Encoder frames that subsampling computes at a time, with the same result; 0 for what suits the device
    and lets hours of audio through, -1 for all at once."""
    attention: AttentionKind = "rel_pos"
    """`rel_pos` scores all pairs of frames; `rel_pos_local_attn` only those within `attention_context`, in
    memory that grows with the number of frames."""
    attention_context: Context = (-1, -1)
    """Frames that a frame sees to its left and right; -1 for all, which local attention cannot."""
    context_style: ContextStyle = "regular"
    """Count `attention_context` from each frame, or (`chunked_limited`) see whole chunks of right + 1 frames
    and left / (right + 1) chunks before one's own."""
    untie_biases: bool = True
    """Position biases u and v in every block; false for one pair that all blocks share."""
    use_bias: bool = False
    """Biases in feed-forward, attention and convolution modules; norms and subsampling always have theirs."""
    xscaling: bool = False
    """Multiply frames by sqrt(hidden_size) after subsampling."""
    dropout: float = 0.1
    """Dropout of inputs, activations, attention weights and residual branches."""
    stochastic_depth: float = 0.0
    """Probability that training leaves out what the last block does; it grows linearly with depth."""
    lang_embedding: LangEmbedding = "none"
    """Add a vector for the language: nowhere, after subsampling, or to the output."""
    activation_checkpointing: bool = False
    """Recompute blocks in the backward pass: less memory, about a third more work."""

    def __post_init__(self) -> None:
        self.attention_context = _pair(self.attention_context)
        for key in ("num_layers", "hidden_size", "num_heads", "ff_expansion", "subsampling_channels"):
            if getattr(self, key) < 1:
                raise ValueError(f"`{key}` must be 1 or more, got {getattr(self, key)}")
        if self.hidden_size % 2 or self.hidden_size % self.num_heads:
            wanted = f"even and a multiple of num_heads={self.num_heads}"
            raise ValueError(f"`hidden_size` must be {wanted}, got {self.hidden_size}")
        if self.conv_kernel < 1 or self.conv_kernel % 2 == 0:
            raise ValueError(f"`conv_kernel` must be odd and positive, got {self.conv_kernel}")
        if self.subsampling_factor not in (2, 4, 8, 16):
            raise ValueError(f"`subsampling_factor` must be 2, 4, 8 or 16, got {self.subsampling_factor}")
        for key in ("dropout", "stochastic_depth"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"`{key}` must be at least 0 and below 1, got {getattr(self, key)}")
        if self.conv_chunking < -1:
            raise ValueError(f"`conv_chunking` must be -1 or more, got {self.conv_chunking}")
        self._check_attention()

    def _check_attention(self) -> None:
        for key, known in (
            ("attention", get_args(AttentionKind)),
            ("context_style", get_args(ContextStyle)),
            ("conv_norm", get_args(ConvNorm)),
            ("lang_embedding", get_args(LangEmbedding)),
            ("subsampling", ("dw_striding", "striding")),
        ):
            if getattr(self, key) not in known:
                raise ValueError(f"`{key}` must be {' or '.join(known)}, got {getattr(self, key)!r}")
        left, right = self.attention_context
        if self.attention == "rel_pos_local_attn":
            if min(left, right) < 0:
                raise ValueError(
                    f"`attention_context` of local attention must be 0 or more, got {(left, right)}"
                )
            if self.context_style != "regular":
                raise ValueError(
                    f"`context_style` of local attention must be regular, got {self.context_style!r}"
                )
        elif self.context_style == "chunked_limited" and right >= 0 and left > 0 and left % (right + 1):
            raise ValueError(
                f"`attention_context` must be whole chunks of {right + 1} to the left, got {left}"
            )

    def build(self, num_mels: int, langs: Sequence[str] = ()) -> "FastConformer":
        """The encoder for features with `num_mels` bins."""
        return FastConformer(self, num_mels, langs)


class FastConformer(nn.Module):
    """Features to frames that know their context."""

    def __init__(self, config: FastConformerConfig, num_mels: int = 80, langs: Sequence[str] = ()) -> None:
        super().__init__()
        self.config = config
        self.hidden_size = config.hidden_size
        self.subsampling_factor = config.subsampling_factor
        self.input_scale = math.sqrt(config.hidden_size) if config.xscaling else 1.0
        self.activation_checkpointing = config.activation_checkpointing
        self.pre_encode = _subsampling(config, num_mels)
        self.dropout = Dropout(config.dropout)
        blocks = [_block(config) for _ in range(config.num_layers)]
        if not config.untie_biases:
            _tie_biases(blocks)
        self.layers = nn.ModuleList(blocks)
        self.lang_position = config.lang_embedding
        if config.lang_embedding != "none":
            if not langs:
                raise ValueError(f"`lang_embedding` is {config.lang_embedding!r} but no languages were given")
            self.lang_embedding = nn.Embedding(len(langs), config.hidden_size)
            nn.init.normal_(self.lang_embedding.weight, std=0.02)

    def set_attention(
        self, kind: AttentionKind, context: Context | None = None, style: ContextStyle = "regular"
    ) -> None:
        """Let frames look elsewhere; the weights serve every kind. The config follows, so saving keeps it.

        Args:
            kind: as `FastConformerConfig.attention`.
            context: as `attention_context`; None for the whole utterance.
            style: as `context_style`.
        """
        context = (-1, -1) if context is None else context
        checked = replace(self.config, attention=kind, attention_context=context, context_style=style)
        for key in ("attention", "attention_context", "context_style"):
            setattr(self.config, key, getattr(checked, key))

    def out_lens(self, feature_lens: Tensor) -> Tensor:
        """Encoder frames for that many feature frames."""
        return subsampled_lens(feature_lens, self.subsampling_factor)

    def forward(
        self, features: Tensor, feature_lens: Tensor, lang_ids: Tensor | None = None
    ) -> EncoderOutput:
        """Encode a batch.

        Args:
            features: (B, T, F).
            feature_lens: valid frames, (B,).
            lang_ids: positions in `langs`, (B,). Without them a language embedding is left out.

        Returns:
            encoder_out (B, T', D) and encoder_out_lens (B,).
        """
        lens = self.out_lens(feature_lens)
        layout = lay_out(lens, -(-features.shape[1] // self.subsampling_factor))
        x = self.pre_encode(features, feature_lens, layout)  # (N, D)
        if lang_ids is not None and self.lang_position == "input":
            x = x + layout.spread(self.lang_embedding(lang_ids))
        x = self.dropout(x * self.input_scale if self.input_scale != 1.0 else x)
        x = self._transformed(x, layout)
        if lang_ids is not None and self.lang_position == "output":
            x = x + layout.spread(self.lang_embedding(lang_ids))
        return EncoderOutput(layout.frames(x), lens)  # (B, T', D)

    def _transformed(self, x: Tensor, layout: Layout) -> Tensor:
        scope = self._scope(layout, x.device)
        recompute = self.activation_checkpointing and self.training
        for i, layer in enumerate(self.layers, start=1):
            out = recomputed(layer, x, layout, scope) if recompute else layer(x, layout, scope)
            drop = self.config.stochastic_depth * i / len(self.layers) if self.training else 0.0
            x = _sometimes_kept(x, out, drop) if drop > 0 else out
        return x

    def _scope(self, layout: Layout, device: torch.device) -> Scope:
        config, num_frames = self.config, layout.num_frames
        if config.attention == "rel_pos_local_attn":
            left, right = config.attention_context
            positions = relative_positions(left, -right, self.hidden_size, device)
            return LocalAttention(positions, left, right, layout.valid)
        hidden = hidden_pairs(num_frames, config.attention_context, config.context_style, device)
        if layout.valid is not None:
            padding = ~layout.valid[:, None, None]  # (B, 1, 1, T)
            hidden = padding if hidden is None else hidden | padding
        positions = relative_positions(num_frames - 1, -num_frames, self.hidden_size, device)
        return FullAttention(positions, hidden)


def _subsampling(config: FastConformerConfig, num_mels: int) -> Subsampling:
    make_stages = depthwise_striding if config.subsampling == "dw_striding" else full_striding
    stages = make_stages(int(math.log2(config.subsampling_factor)), config.subsampling_channels)
    masked, chunk = config.masked_subsampling, config.conv_chunking
    return Subsampling(stages, num_mels, config.hidden_size, masked, chunk)


def _block(config: FastConformerConfig) -> ConformerBlock:
    size, dropout, use_bias = config.hidden_size, config.dropout, config.use_bias
    attention = RelPositionAttention(size, config.num_heads, dropout, use_bias)
    conv = Convolution(size, config.conv_kernel, config.conv_norm, use_bias)
    first, second = (FeedForward(size, config.ff_expansion, dropout, use_bias) for _ in range(2))
    return ConformerBlock(attention, conv, (first, second), dropout)


def _tie_biases(blocks: list[ConformerBlock]) -> None:
    owner = blocks[0].self_attn
    for block in blocks[1:]:
        block.self_attn.pos_bias_u, block.self_attn.pos_bias_v = owner.pos_bias_u, owner.pos_bias_v


def _sometimes_kept(x: Tensor, out: Tensor, drop: float) -> Tensor:
    """A block's change, left out with probability `drop` and else scaled so that its mean stays.

    It is computed in either case, so that in every process every parameter has a gradient.
    """
    kept = (torch.rand((), device=x.device) >= drop) / (1 - drop)
    return x + (out - x) * kept


def _pair(context: Sequence[int]) -> Context:
    if len(context) != 2 or min(context) < -1:
        raise ValueError(f"`attention_context` must be two numbers of -1 or more, got {tuple(context)}")
    left, right = context
    return left, right
