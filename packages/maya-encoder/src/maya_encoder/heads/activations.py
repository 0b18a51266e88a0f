"""What stands between the sum of the joint network's two inputs and its last layer, with its gradient."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Activation(NamedTuple):
    """A function that overwrites its argument, and one that overwrites a gradient from (gradient, output)."""

    forward_: Callable[[Tensor], Tensor]
    backward_: Callable[[Tensor, Tensor], Tensor]


def _relu_backward_(grad: Tensor, output: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad)
    return found


def _tanh_backward_(grad: Tensor, output: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.tanh_backward.grad_input(grad, output, grad_input=grad)
    return found


def _sigmoid_backward_(grad: Tensor, output: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.sigmoid_backward.grad_input(grad, output, grad_input=grad)
    return found


ACTIVATIONS = {
    "relu": Activation(Tensor.relu_, _relu_backward_),
    "tanh": Activation(Tensor.tanh_, _tanh_backward_),
    "sigmoid": Activation(Tensor.sigmoid_, _sigmoid_backward_),
}


def dropout_scale(cells: Tensor, width: int, rate: float, seed: int) -> Tensor:
    """What dropout multiplies the `width` values of each cell by: 0, or 1 / (share kept).

    A function of (seed, number of the cell, column) alone, so that the gradient may visit other cells, in
    other chunks, than the loss did. The bits are those of MurmurHash3's finalizer; a word decides over two.

    Args:
        cells: numbers of n cells (n,).
        width: values of each.
        rate: share dropped, in [0, 1).
        seed: from 0 up to 2**31 - 1.
    """
    columns = torch.arange((width + 1) // 2, dtype=torch.int32, device=cells.device)
    bits = cells.to(torch.int32).mul_(len(columns)).add_(seed).unsqueeze(1) + columns
    for shift, factor in ((16, -2048144789), (13, -1028477387)):
        bits ^= (bits >> shift) & (2 ** (32 - shift) - 1)
        bits *= factor
    bits ^= (bits >> 16) & 0xFFFF
    halves = bits.view(torch.int16)[:, :width]
    dropped = round(rate * 2**16)
    kept = halves >= dropped - 2**15
    return kept * (2**16 / (2**16 - dropped))
