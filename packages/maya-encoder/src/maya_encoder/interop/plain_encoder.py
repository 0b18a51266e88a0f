"""The encoder over the same weights in plain operations, for exporters.

`FastConformer.forward` looks at lengths, cuts batches into utterances and works in chunks; a graph of ONNX
has one way for every batch. Local attention and chunked contexts become masks here, so memory grows with the
square of the number of frames.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_encoder.attention import hidden_pairs, relative_positions
from maya_encoder.fastconformer import FastConformer
from maya_encoder.lengths import valid_mask
from maya_encoder.subsampling import subsampled_lens

HIDDEN_SCORE = -1e9
"""Far below any score; finite, so that a frame that sees nothing gives a mean and not NaN."""


class PlainEncoder(nn.Module):
    """What `FastConformer` computes on real frames in evaluation mode.

    Args:
        encoder: whose weights and settings are used; they are shared, not copied.
    """

    def __init__(self, encoder: FastConformer) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, features: Tensor, feature_lens: Tensor, lang_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, T, F) and lengths (B,) to (B, T', D), zero behind each utterance, and lengths."""
        encoder = self.encoder
        x = self._subsampled(features, feature_lens)  # (B, T', D)
        lens = encoder.out_lens(feature_lens)
        valid = valid_mask(lens, x.shape[1])  # (B, T')
        x = self._with_language(x, lang_ids, "input") * encoder.input_scale
        hidden, positions = self._hidden(valid), self._positions(x)
        for layer in encoder.layers:
            x = self._block(layer, x, valid, (hidden, positions))
        x = self._with_language(x, lang_ids, "output")
        return x * valid[..., None].to(x.dtype), lens

    def _subsampled(self, features: Tensor, lens: Tensor) -> Tensor:
        subsampling = self.encoder.pre_encode
        x = features[:, None]  # (B, 1, T, F)
        for layer in subsampling.conv:
            if subsampling.masked and isinstance(layer, nn.Conv2d):
                x = x * valid_mask(lens, x.shape[2])[:, None, :, None].to(x.dtype)
            if isinstance(layer, nn.Conv2d):
                x = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, groups=layer.groups)
                lens = subsampled_lens(lens, layer.stride[0])
            else:
                x = F.relu(x)
        if subsampling.masked:
            x = x * valid_mask(lens, x.shape[2])[:, None, :, None].to(x.dtype)
        out: Tensor = subsampling.out(x.transpose(1, 2).flatten(2))
        return out

    def _with_language(self, x: Tensor, lang_ids: Tensor | None, position: str) -> Tensor:
        if lang_ids is None or self.encoder.lang_position != position:
            return x
        embeds: Tensor = self.encoder.lang_embedding(lang_ids)[:, None]  # (B, 1, D)
        return x + embeds

    def _hidden(self, valid: Tensor) -> Tensor:
        """True where a query may not look at a key, broadcasts to (B, A, T', T')."""
        config = self.encoder.config
        context = config.attention_context
        hidden = ~valid[:, None, None]  # (B, 1, 1, T')
        pairs = hidden_pairs(valid.shape[1], context, config.context_style, valid.device)
        return hidden if pairs is None else hidden | pairs

    def _positions(self, x: Tensor) -> Tensor:
        num_frames = x.shape[1]
        return relative_positions(
            num_frames - 1, -num_frames, self.encoder.hidden_size, x.device
        )  # (2 T', D)

    def _block(self, layer: Any, x: Tensor, valid: Tensor, scope: tuple[Tensor, Tensor]) -> Tensor:
        x = x + 0.5 * _feed_forward(layer.feed_forward1, layer.norm_feed_forward1(x))
        x = x + _attention(layer.self_attn, layer.norm_self_att(x), *scope)
        x = x + _convolution(layer.conv, layer.norm_conv(x), valid)
        x = x + 0.5 * _feed_forward(layer.feed_forward2, layer.norm_feed_forward2(x))
        out: Tensor = layer.norm_out(x)
        return out


def _feed_forward(module: Any, x: Tensor) -> Tensor:
    out: Tensor = module.linear2(F.silu(module.linear1(x)))
    return out


def _attention(module: Any, x: Tensor, hidden: Tensor, positions: Tensor) -> Tensor:
    query, key, value = (
        _heads(module, project(x)) for project in (module.linear_q, module.linear_k, module.linear_v)
    )  # (B, T, A, D / A)
    embeds = _heads(module, module.linear_pos(positions.to(x.dtype))[None])[0].transpose(
        0, 1
    )  # (A, 2 T, D / A)
    content = (query + module.pos_bias_u).transpose(1, 2) @ key.permute(0, 2, 3, 1)  # (B, A, T, T)
    distance = (query + module.pos_bias_v).transpose(1, 2) @ embeds.transpose(1, 2)  # (B, A, T, 2 T)
    scores = (content + _shifted(distance)) * module.head_size**-0.5
    weights = scores.masked_fill(hidden, HIDDEN_SCORE).softmax(-1)
    mixed = (weights @ value.transpose(1, 2)).transpose(1, 2)  # (B, T, A, D / A)
    out: Tensor = module.linear_out(mixed.reshape(x.shape))
    return out


# Sizes are read off the tensors in every step: a trace leaves them free, but fixes those of `unflatten`.


def _heads(module: Any, x: Tensor) -> Tensor:
    return x.view(x.shape[0], x.shape[1], module.num_heads, module.head_size)


def _shifted(scores: Tensor) -> Tensor:
    """Scores by distance (B, A, T, 2 T) to scores by pair of frames; see `attention.shift_to_pairs`."""
    batch, heads, num_frames, _ = scores.shape
    rows = scores.flatten(2)[..., num_frames - 1 : -1].reshape(batch, heads, num_frames, 2 * num_frames - 1)
    return rows[..., :num_frames]


def _convolution(module: Any, x: Tensor, valid: Tensor) -> Tensor:
    x = F.glu(module.pointwise_conv1(x.transpose(1, 2)), dim=1)  # (B, D, T)
    x = module.depthwise_conv(x * valid[:, None].to(x.dtype))
    layer_norm = isinstance(module.batch_norm, nn.LayerNorm)
    x = module.batch_norm(x.transpose(1, 2)).transpose(1, 2) if layer_norm else module.batch_norm(x)
    return torch.transpose(module.pointwise_conv2(F.silu(x)), 1, 2)
