"""Products of a few rows with a big matrix, which is what verifying a draft on a CPU consists of.

The BLAS behind `F.linear` is made for one row or for many. Between the two oneDNN takes half its time, and
where that is missing so does BLAS with the operands the other way round (measured on AVX-512 with MKL).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ROWS = range(4, 81)
"""Rows for which oneDNN is faster, with a matrix that no cache holds: the output head."""
LAYER_ROWS = range(8, 57)
"""The same with the matrices of a layer."""
TURNED_ROWS = range(8, 49)
"""Rows for which the operands the other way round are."""
BIG, HUGE = 2**19, 2**24
"""Numbers of a matrix from which it matters, and from which no cache holds it."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what `F.linear` does but for rounding: x (..., H) times weight (V, H), plus bias (V,)."""
    num_rows = x.numel() // max(x.shape[-1], 1)
    if num_rows not in (ROWS if weight.numel() >= HUGE else LAYER_ROWS) or not _matters(x, weight):
        return F.linear(x, weight, bias)
    rows = x.reshape(num_rows, x.shape[-1])
    if has_onednn():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    elif num_rows in TURNED_ROWS:
        product = (weight @ rows.t().contiguous()).t().contiguous()
        product = product if bias is None else product.add_(bias)
    else:
        product = F.linear(rows, weight, bias)
    return product.view(*x.shape[:-1], len(weight))


def has_onednn() -> bool:
    """Whether torch has oneDNN's product; the operator is one that its own compiler calls."""
    mkldnn: Any = torch.backends.mkldnn
    return bool(mkldnn.is_available() and mkldnn.enabled and hasattr(torch.ops.mkldnn, "_linear_pointwise"))


def _matters(x: Tensor, weight: Tensor) -> bool:
    fits = weight.dim() == 2 and weight.numel() >= BIG and weight.is_contiguous()
    plain = x.device.type == weight.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return fits and plain and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))


def few_rows(num_rows: int) -> AbstractContextManager[Any]:
    """Return what to call an LLM in that reads so many rows; watching its calls takes a few milliseconds."""
    return FewRows() if num_rows in ROWS else nullcontext()


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
