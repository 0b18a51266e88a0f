"""The Conformer of IndicConformer's files: names, sizes and settings, as far as weights tell them."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.notes import Doubt
from maya_encoder.interop.onnx_graph import Nameless, OnnxGraph
from maya_encoder.interop.parakeet_names import with_all_biases

BATCH_NORM_EPS = 1e-5
USUAL_MELS = (80, 128, 64)

PRODUCTS = (
    "feed_forward1.linear1",
    "feed_forward1.linear2",
    "self_attn.linear_q",
    "self_attn.linear_k",
    "self_attn.linear_v",
    "self_attn.linear_pos",
    "self_attn.linear_out",
    "feed_forward2.linear1",
    "feed_forward2.linear2",
)
"""The matrix products of a layer in the order in which NeMo computes them."""


@dataclass
class Part:
    """The weights of one file."""

    tensors: dict[str, Tensor]
    nameless: list[Nameless] = field(default_factory=list)
    folded: set[str] = field(default_factory=set)
    graph: OnnxGraph | None = None


@dataclass
class FoundEncoder:
    """An encoder in our terms."""

    config: FastConformerConfig
    tensors: dict[str, Tensor]
    num_mels: int
    notes: list[str]


def read_encoder(part: Part, source: Path, num_mels: int | None = None) -> FoundEncoder:
    """The encoder of `encoder.onnx` or `encoder.ts`.

    Args:
        part: its weights.
        source: where they are from, for messages.
        num_mels: mel bins, where another file tells them.

    Raises:
        BadCheckpoint: weights cannot be told apart, or are not those of a Conformer.
    """
    tensors = {name.removeprefix("encoder."): tensor for name, tensor in part.tensors.items()}
    folded = {name.removeprefix("encoder.") for name in part.folded}
    num_layers = len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
    if not num_layers or "layers.0.norm_out.weight" not in tensors:
        raise BadCheckpoint(f"{source}: the encoder's weights have none of a Conformer's names")
    unused = [name for name in tensors if not name.startswith(("layers.", "pre_encode."))]
    for name in unused:
        del tensors[name]
    notes: list[str] = [Doubt(f"of the encoder, not used: {', '.join(unused)}")] if unused else []
    notes += _name_the_rest(tensors, part.nameless, folded, num_layers)
    config, bins = _config(tensors, num_layers, part.graph, source)
    if part.graph is not None:
        num_mels = num_mels or part.graph.input_size("audio_signal", 1)
    num_mels = _num_mels(num_mels, bins, config.subsampling_factor, source)
    notes += _unfold_norms(tensors, folded, config)
    if part.graph is None:
        doubt = "whether frames are scaled by the root of the width after subsampling is code; they are here"
        notes.append(Doubt(doubt))
    if config.use_bias:
        tensors = with_all_biases(tensors, num_layers)
    return FoundEncoder(config, tensors, num_mels, notes)


def _name_the_rest(
    tensors: dict[str, Tensor], nameless: list[Nameless], folded: set[str], num_layers: int
) -> list[str]:
    """Give weights without a name the names that are still free, in the order of computation."""
    layers = [f"layers.{i}" for i in range(num_layers)]
    products = ["pre_encode.out", *(f"{layer}.{name}" for layer in layers for name in PRODUCTS)]
    for kind, modules in (
        ("MatMul", products),
        ("Conv", [f"{layer}.conv.depthwise_conv" for layer in layers]),
    ):
        free = [module for module in modules if f"{module}.weight" not in tensors]
        own = [each for each in nameless if each.kind == kind]
        if len(own) != len(free):
            raise BadCheckpoint(
                f"{len(own)} weights of {kind} nodes have no name, and {len(free)} are looked for, the first"
                f" {free[0] if free else 'none'}: they cannot be told apart"
            )
        for module, each in zip(free, own, strict=True):
            tensors[f"{module}.weight"] = each.weight
            if each.bias is not None:
                tensors[f"{module}.bias"] = each.bias
                folded.add(module)
    if not nameless:
        return []
    return [Doubt(f"{len(nameless)} weights have no name; they were told by the order of the graph")]


def _config(
    tensors: dict[str, Tensor], num_layers: int, graph: OnnxGraph | None, source: Path
) -> tuple[FastConformerConfig, int]:
    first = "layers.0."
    try:
        size = len(tensors[first + "norm_out.weight"])
        inner = len(tensors[first + "feed_forward1.linear1.weight"])
        kernel = tensors[first + "conv.depthwise_conv.weight"].shape[-1]
        heads = len(tensors[first + "self_attn.pos_bias_u"])
        channels = len(tensors["pre_encode.conv.0.weight"])
        bins = tensors["pre_encode.out.weight"].shape[1] // channels
    except KeyError as error:
        raise BadCheckpoint(f"{source}: the encoder has no {error.args[0]}") from None
    kind, factor = _subsampling(tensors)
    running = first + "conv.batch_norm.running_mean" in tensors
    normed = first + "conv.batch_norm.weight" in tensors
    try:
        config = FastConformerConfig(
            num_layers=num_layers,
            hidden_size=size,
            num_heads=heads,
            ff_expansion=inner // size,
            conv_kernel=kernel,
            conv_norm="layer_norm" if normed and not running else "batch_norm",
            subsampling=kind,  # type: ignore[arg-type]
            subsampling_factor=factor,
            subsampling_channels=channels,
            masked_subsampling=False,
            use_bias=first + "feed_forward1.linear1.bias" in tensors,
            xscaling=graph is None or _scales(graph, size),
        )
    except ValueError as error:
        raise BadCheckpoint(f"{source} describes no encoder that can be built here: {error}") from None
    return config, bins


def _subsampling(tensors: dict[str, Tensor]) -> tuple[str, int]:
    convs = {
        int(name.split(".")[2]): tensor
        for name, tensor in tensors.items()
        if name.startswith("pre_encode.conv.") and name.endswith(".weight")
    }
    strided = sum(tensor.shape[-1] == 3 for tensor in convs.values())
    separable = any(tensor.shape[-1] == 1 for tensor in convs.values())
    return "dw_striding" if separable else "striding", 2**strided


def _num_mels(told: int | None, bins: int, factor: int, source: Path) -> int:
    found = told or next((mels for mels in USUAL_MELS if math.ceil(mels / factor) == bins), None)
    if found is None or math.ceil(found / factor) != bins:
        raise BadCheckpoint(
            f"{source}: {bins} bins are left after subsampling by {factor}, which are not those of"
            f" {found or 'any usual number of'} mels"
        )
    return found


def _scales(graph: OnnxGraph, size: int) -> bool:
    """Whether something is multiplied by the root of the width before the first layer."""
    end = graph.place_of("layers.0.")
    return any(
        kind == "Mul" and place < end and math.isclose(value, math.sqrt(size), rel_tol=1e-4)
        for place, kind, value in graph.scalars()
    )


def _unfold_norms(tensors: dict[str, Tensor], folded: set[str], config: FastConformerConfig) -> list[str]:
    """A batch norm that changes nothing, where the real one is inside the convolution before it."""
    inside = [f"layers.{i}.conv.depthwise_conv" in folded for i in range(config.num_layers)]
    for i in range(config.num_layers):
        prefix = f"layers.{i}.conv."
        ones = torch.ones(config.hidden_size)
        if inside[i]:
            # Where the model has no biases, that of the folded norm goes back to the norm.
            bias = tensors.pop(prefix + "depthwise_conv.bias")
            tensors[prefix + "batch_norm.weight"] = ones * math.sqrt(1 + BATCH_NORM_EPS)
            tensors[prefix + "batch_norm.bias"] = torch.zeros_like(bias) if config.use_bias else bias
            tensors[prefix + "batch_norm.running_mean"] = torch.zeros_like(ones)
            tensors[prefix + "batch_norm.running_var"] = ones
            if config.use_bias:
                tensors[prefix + "depthwise_conv.bias"] = bias
        if config.conv_norm == "batch_norm":
            tensors.setdefault(prefix + "batch_norm.num_batches_tracked", torch.tensor(0))
    if not any(inside):
        return []
    return [
        "the batch norms are folded into the convolutions before them: they are identities here, and learn"
        " their statistics anew when the model is trained"
    ]
