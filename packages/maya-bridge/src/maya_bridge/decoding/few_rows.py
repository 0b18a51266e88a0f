"""Products of a few rows with a big matrix, which is what verifying a draft on a CPU consists of.

BLAS is made for one row or for many: between the two it takes about twice as long as with the operands the
other way round (measured on AVX-512 with MKL; 8 to 48 rows).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ROWS = range(6, 49)
BIG = 2**17
"""Numbers of a matrix from which it matters."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what `F.linear` does but for rounding: x (..., H) times weight (V, H), plus bias (V,)."""
    if not _matters(x, weight):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    product = (weight @ rows.t().contiguous()).t().contiguous()
    product = product if bias is None else product.add_(bias)
    return product.view(*x.shape[:-1], len(weight))


def _matters(x: Tensor, weight: Tensor) -> bool:
    rows = x.numel() // max(x.shape[-1], 1)
    fits = rows in ROWS and weight.numel() >= BIG and weight.dim() == 2
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return fits and plain and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))


class FewRows(TorchFunctionMode):
    """Inside it, every linear layer of any model calls `linear`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is F.linear:
            func = linear
        return func(*args, **(kwargs or {}))
