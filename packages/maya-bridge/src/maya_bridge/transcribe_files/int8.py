"""Dynamic quantisation on the CPU: weights of linear layers as int8, inputs quantised as they come.

Each row of the weights and each input vector has its own scale, so a text does not depend on what else is in
its batch. (`torch.ao.quantization` is leaving torch, and its scale is that of the whole batch.)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST = 4096
"""Numbers in the weights of a layer that is worth it."""
MB = 1e6


@dataclass(frozen=True)
class Saving:
    """What quantisation saved."""

    before: int
    """Bytes of all parameters and buffers."""
    after: int
    """The same afterwards."""
    layers: int
    """Linear layers that were quantised."""

    def __str__(self) -> str:
        saved = self.before - self.after
        return (
            f"int8: {self.layers} linear layers, {self.before / MB:.1f} MB of weights are now "
            f"{self.after / MB:.1f} MB, {saved / MB:.1f} MB ({saved / max(self.before, 1):.0%}) saved"
        )


class Int8Linear(nn.Module):
    """A linear layer of int8 weights, for inference."""

    int_weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()  # (O, I)
        scale = _scale(weight)
        self.register_buffer("int_weight", (weight / scale).round().to(torch.int8).t().contiguous())
        self.register_buffer("scale", scale.squeeze(1))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O), in the dtype of `x`."""
        rows = x.reshape(-1, self.in_features).float()
        scale = _scale(rows)  # (R, 1)
        product = torch._int_mm((rows / scale).round().to(torch.int8), self.int_weight)
        out = product.float() * (scale * self.scale)
        if self.bias is not None:
            out = out + self.bias
        return out.to(x.dtype).view(*x.shape[:-1], self.out_features)


def quantise(model: nn.Module) -> Saving:
    """Put `Int8Linear` in the place of the linear layers of a model in evaluation mode.

    Layers whose weights others share or read (embeddings tied to an output layer, a language prompt) stay.
    """
    before = num_bytes(model)
    chosen = list(_layers(model))
    for parent, name, linear in chosen:
        setattr(parent, name, Int8Linear(linear))
    return Saving(before, num_bytes(model), len(chosen))


def num_bytes(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, shared ones counted once."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _layers(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Every layer to be quantised, with its parent and its name there."""
    holders: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    read_directly = {id(module) for module in _read_directly(model)}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear or id(child) in read_directly:
                continue
            if holders[id(child.weight)] == 1 and child.weight.numel() >= LEAST:
                yield parent, name, child


def _read_directly(model: nn.Module) -> Iterator[nn.Module]:
    """Layers whose `weight` is used by code outside of them."""
    for module in model.modules():
        get_head = getattr(module, "get_output_embeddings", None)
        if callable(get_head) and (head := get_head()) is not None:
            yield head
        if type(module).__name__ == "LanguagePrompt":
            yield from module.modules()


def _scale(rows: Tensor) -> Tensor:
    """The size of one step of each row, (R, 1)."""
    return rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
