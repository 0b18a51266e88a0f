"""FastConformer (arXiv 2305.05084) and, with other settings, the classic Conformer.

Parameter names are NeMo's without the leading `encoder.`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maya_encoder.attention import RelPositionAttention, relative_positions, score_mask
from maya_encoder.conformer import ConformerBlock, ConvNorm, Convolution, FeedForward
from maya_encoder.dropout import Dropout
from maya_encoder.lengths import padding_mask
from maya_encoder.subsampling import Subsampling, depthwise_striding, full_striding, subsampled_lens

LangEmbedding = Literal["none", "input", "output"]


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
    use_bias: bool = False
    """Biases in feed-forward, attention and convolution modules; norms and subsampling always have theirs."""
    xscaling: bool = False
    """Multiply frames by sqrt(hidden_size) after subsampling."""
    dropout: float = 0.1
    """Dropout of inputs, activations, attention weights and residual branches."""
    lang_embedding: LangEmbedding = "none"
    """Add a vector for the language: nowhere, after subsampling, or to the output."""
    activation_checkpointing: bool = False
    """Recompute blocks in the backward pass: less memory, about a third more work."""

    def __post_init__(self) -> None:
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
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be at least 0 and below 1, got {self.dropout}")

    def build(self, num_mels: int, langs: Sequence[str] = ()) -> "FastConformer":
        """The encoder for features with `num_mels` bins."""
        return FastConformer(self, num_mels, langs)


class FastConformer(nn.Module):
    """Features to frames that know their context."""

    def __init__(self, config: FastConformerConfig, num_mels: int = 80, langs: Sequence[str] = ()) -> None:
        super().__init__()
        self.hidden_size = config.hidden_size
        self.subsampling_factor = config.subsampling_factor
        self.input_scale = math.sqrt(config.hidden_size) if config.xscaling else 1.0
        self.activation_checkpointing = config.activation_checkpointing
        self.pre_encode = _subsampling(config, num_mels)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(_block(config) for _ in range(config.num_layers))
        self.lang_position = config.lang_embedding
        if config.lang_embedding != "none":
            if not langs:
                raise ValueError(f"`lang_embedding` is {config.lang_embedding!r} but no languages were given")
            self.lang_embedding = nn.Embedding(len(langs), config.hidden_size)
            nn.init.normal_(self.lang_embedding.weight, std=0.02)

    def out_lens(self, feature_lens: Tensor) -> Tensor:
        """Encoder frames for that many feature frames."""
        return subsampled_lens(feature_lens, self.subsampling_factor)

    def forward(
        self, features: Tensor, feature_lens: Tensor, lang_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        Args:
            features: (B, T, F).
            feature_lens: valid frames, (B,).
            lang_ids: positions in `langs`, (B,); needed with a language embedding, else unused.

        Returns:
            encoder_out (B, T', D) and encoder_out_lens (B,). What lies behind a length has no meaning.
        """
        x, lens = self.pre_encode(features, feature_lens)  # (B, T', D)
        x = self._add_lang(x, lang_ids, "input")
        x = self.dropout(x * self.input_scale if self.input_scale != 1.0 else x)
        positions = relative_positions(x.shape[1], self.hidden_size, x.device)
        valid = padding_mask(lens, x.shape[1])
        mask = score_mask(valid)
        run = _recomputed if self.activation_checkpointing and self.training else _called
        for layer in self.layers:
            x = run(layer, x, positions, mask, valid)
        return self._add_lang(x, lang_ids, "output"), lens

    def _add_lang(self, x: Tensor, lang_ids: Tensor | None, position: LangEmbedding) -> Tensor:
        if self.lang_position != position:
            return x
        if lang_ids is None:
            raise ValueError("`lang_ids` must be given: this encoder has a language embedding")
        embeds: Tensor = self.lang_embedding(lang_ids)[:, None]  # (B, 1, D)
        return x + embeds


def _subsampling(config: FastConformerConfig, num_mels: int) -> Subsampling:
    make_stages = depthwise_striding if config.subsampling == "dw_striding" else full_striding
    stages = make_stages(int(math.log2(config.subsampling_factor)), config.subsampling_channels)
    return Subsampling(stages, num_mels, config.hidden_size, masked=config.masked_subsampling)


def _block(config: FastConformerConfig) -> ConformerBlock:
    size, dropout, use_bias = config.hidden_size, config.dropout, config.use_bias
    attention = RelPositionAttention(size, config.num_heads, dropout, use_bias)
    conv = Convolution(size, config.conv_kernel, config.conv_norm, use_bias)
    first, second = (FeedForward(size, config.ff_expansion, dropout, use_bias) for _ in range(2))
    return ConformerBlock(attention, conv, (first, second), dropout)


def _called(layer: nn.Module, *args: Tensor | None) -> Tensor:
    out: Tensor = layer(*args)
    return out


def _recomputed(layer: nn.Module, *args: Tensor | None) -> Tensor:
    out: Tensor = checkpoint(layer, *args, use_reentrant=False, context_fn=lambda: _recompute_contexts(layer))
    return out


def _recompute_contexts(layer: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _frozen_statistics(layer)


@contextmanager
def _frozen_statistics(layer: nn.Module) -> Iterator[None]:
    """Keep recomputation from counting a batch twice in the running statistics."""
    kinds = (nn.BatchNorm1d, nn.SyncBatchNorm)
    norms = [(module, module.momentum) for module in layer.modules() if isinstance(module, kinds)]
    for norm, _ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum
