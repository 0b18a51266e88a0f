"""Tensor names and row orders: Hugging Face's Parakeet on one side, ours (NeMo's) on the other."""

from collections.abc import Mapping

import torch
from torch import Tensor

ENCODER_NAMES = (
    ("subsampling.layers.", "pre_encode.conv."),
    ("subsampling.linear.", "pre_encode.out."),
    (".self_attn.q_proj.", ".self_attn.linear_q."),
    (".self_attn.k_proj.", ".self_attn.linear_k."),
    (".self_attn.v_proj.", ".self_attn.linear_v."),
    (".self_attn.o_proj.", ".self_attn.linear_out."),
    (".self_attn.relative_k_proj.", ".self_attn.linear_pos."),
    (".self_attn.bias_", ".self_attn.pos_bias_"),
    (".conv.norm.", ".conv.batch_norm."),
)
"""Parts of names: theirs, ours."""

HEAD_NAMES = {
    "ctc": (("ctc_head.", "decoder_layers.0."),),
    "transducer": (
        ("decoder.embedding.", "prediction.embed."),
        ("decoder.lstm.", "prediction.dec_rnn.lstm."),
        ("decoder.decoder_projector.", "joint.pred."),
        ("encoder_projector.", "joint.enc."),
        ("joint.head.", "joint.joint_net.2."),
    ),
}
"""Beginnings of names: theirs, ours without `heads.NAME.`."""

VOCABULARY_ROWS = ("decoder_layers.0.", "prediction.embed.", "joint.joint_net.2.")
"""Ours whose rows are tokens, with durations behind them where there are any."""

BIASED = (
    "feed_forward1.linear1",
    "feed_forward1.linear2",
    "feed_forward2.linear1",
    "feed_forward2.linear2",
) + (
    tuple(f"self_attn.linear_{part}" for part in ("q", "k", "v", "out"))
    + tuple(f"conv.{part}" for part in ("pointwise_conv1", "depthwise_conv", "pointwise_conv2"))
)
"""Modules of a layer whose bias is optional."""


def names_of(head: str) -> tuple[tuple[str, str], ...]:
    """The rows of `HEAD_NAMES` for one of ctc, rnnt, tdt."""
    return HEAD_NAMES["ctc" if head == "ctc" else "transducer"]


def encoder_from_theirs(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix`, under the names that `FastConformer.state_dict()` gives them."""
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix) and not name.endswith("inv_freq"):
            ours = name.removeprefix(prefix)
            for theirs, own in ENCODER_NAMES:
                ours = ours.replace(theirs, own)
            found[ours] = tensor
    return found


def encoder_to_theirs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse, with the prefix that their models with a head have."""
    found = {}
    for name, tensor in tensors.items():
        theirs = name
        for other, own in ENCODER_NAMES:
            theirs = theirs.replace(own, other)
        found[f"encoder.{theirs}"] = tensor
    return found


def head_from_theirs(tensors: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """The tensors of a head, under the names that its own `state_dict()` gives them."""
    return {
        ours + name.removeprefix(theirs): tensor
        for name, tensor in tensors.items()
        for theirs, ours in names_of(head)
        if name.startswith(theirs)
    }


def head_to_theirs(tensors: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """The inverse."""
    return {
        theirs + name.removeprefix(ours): tensor
        for name, tensor in tensors.items()
        for theirs, ours in names_of(head)
        if name.startswith(ours)
    }


def blank_last(tensors: Mapping[str, Tensor], vocab_size: int, blank_id: int) -> dict[str, Tensor]:
    """A head's tensors with the row of the blank moved behind those of the tokens."""
    tokens = [i for i in range(vocab_size) if i != blank_id]
    moved = dict(tensors)
    for name, tensor in tensors.items():
        if name.startswith(VOCABULARY_ROWS) and len(tensor) >= vocab_size:
            order = [*tokens, blank_id, *range(vocab_size, len(tensor))]
            moved[name] = tensor[torch.tensor(order)]
    return moved


def with_all_biases(tensors: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """An encoder's tensors with zeros for the biases that it leaves out; the numbers stay the same."""
    full = dict(tensors)
    for layer in range(num_layers):
        for module in BIASED:
            weight = full.get(f"layers.{layer}.{module}.weight")
            if weight is not None:
                full.setdefault(f"layers.{layer}.{module}.bias", weight.new_zeros(len(weight)))
    return full
