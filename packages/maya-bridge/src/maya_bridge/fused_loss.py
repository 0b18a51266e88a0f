"""Summed cross-entropy of an LLM at chosen positions, by several implementations behind one function.

The logits of all positions, (B, L, V) with V of a quarter million, are never made.

torch: the logits of the chosen positions at once, by the LLM's own forward pass: right for every model class.
chunked: some positions at a time and gradients with them, so that nothing is computed twice. liger: Triton.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_bridge.special_rows import rows_of

LossImpl = Literal["auto", "torch", "chunked", "liger"]
IMPLEMENTATIONS = ("auto", "torch", "chunked", "liger")
SMALL = 2**22
"""Logits that are made at once whatever the device: 16 MiB in float32."""
CHUNK_NUMBERS = {"cpu": 2**25, "cuda": 2**26}
"""Logits that `chunked` makes at a time."""
OWN_WAYS = ("logit_scale", "logits_scaling", "output_multiplier_scale", "lm_head_multiplier")
"""Config fields of models that do more to their logits than cap them."""


def loss_at(
    llm: Any, inputs: Mapping[str, Tensor], wanted: Tensor, labels: Tensor, impl: str = "auto"
) -> Tensor:
    """Return the summed cross-entropy of the LLM's logits at the wanted positions.

    Args:
        llm: any causal LLM of transformers.
        inputs: what it is called with.
        wanted: (B, L), True for N positions.
        labels: (N,) ids that these positions predict, row by row.
        impl: auto takes torch for few logits and for heads that the others cannot do; else liger on CUDA
            where it is installed and fits, else chunked.

    Raises:
        ValueError: an implementation that is not known, not installed or does not fit the LLM, or float16.
    """
    refuse_half(inputs["inputs_embeds"])
    chosen = choose(llm, impl, wanted.device, len(labels))
    if chosen == "torch":
        return _at_once(llm, inputs, wanted, labels)
    hidden = llm.base_model(**inputs, use_cache=False).last_hidden_state[wanted]  # (N, H)
    return _liger(llm, hidden, labels) if chosen == "liger" else _chunked(llm, hidden, labels)


def refuse_half(embeds: Tensor) -> None:
    """Raise for float16 arithmetic, in which Gemma 3's activations overflow."""
    kind = embeds.device.type
    half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    if half or embeds.dtype == torch.float16:
        raise ValueError(
            "the LLM must run in float32 or bfloat16 (Gemma 3 overflows in float16), got float16"
        )


def choose(llm: Any, impl: str, device: torch.device, num_labels: int) -> str:
    """Return the implementation to use for `impl`; see `loss_at`."""
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"`loss_impl` must be one of {', '.join(IMPLEMENTATIONS)}, got {impl}")
    if impl == "auto":
        if num_labels * llm.config.vocab_size <= SMALL or _odd_head(llm) is not None:
            return "torch"
        fits = device.type == "cuda" and rows_of(llm) is None and find_spec("liger_kernel")
        return "liger" if fits else "chunked"
    if impl != "torch" and (odd := _odd_head(llm)) is not None:
        raise ValueError(f"`loss_impl` must be torch for {type(llm).__name__}, which has {odd}, got {impl}")
    if impl == "liger" and rows_of(llm) is not None:
        raise ValueError("`loss_impl` must be torch or chunked while special rows train, got liger")
    if impl == "liger" and not find_spec("liger_kernel"):
        raise ValueError(
            "`loss_impl` liger needs liger_kernel, which is not installed: pip install 'maya-bridge[liger]'"
        )
    return impl


def _odd_head(llm: Any) -> str | None:
    """What keeps the LLM from the implementations that do the output layer's work themselves."""
    head = llm.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        return "an output layer of its own kind"
    if hasattr(head.weight, "placements") or head.weight.dim() != 2 or not len(head.weight):
        return "an output layer that is spread over devices"
    return next((f"`{key}`" for key in OWN_WAYS if getattr(llm.config, key, None) is not None), None)


def ends_in_its_head(llm: Any) -> bool:
    """Return whether the LLM's logits are its output layer's, capped or not, and nothing else."""
    own = type(llm).forward.__module__.startswith("transformers.")
    return own and _odd_head(llm) is None


def _at_once(llm: Any, inputs: Mapping[str, Tensor], wanted: Tensor, labels: Tensor) -> Tensor:
    def select(head: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0][wanted],)

    hook = llm.get_output_embeddings().register_forward_pre_hook(select)
    try:
        logits = llm(**inputs, use_cache=False).logits  # (N, V)
    finally:
        hook.remove()
    return F.cross_entropy(logits.float(), labels, reduction="sum")


def softcap(llm: Any) -> float | None:
    """Return what the LLM caps its logits at, None for no cap."""
    return getattr(llm.config, "final_logit_softcapping", None)


def _chunked(llm: Any, hidden: Tensor, labels: Tensor) -> Tensor:
    head, cap, rows = llm.get_output_embeddings(), softcap(llm), rows_of(llm)

    def part(hidden: Tensor, labels: Tensor) -> Tensor:
        logits = head(hidden)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        if not torch.is_grad_enabled():
            return F.cross_entropy(logits.float(), labels, reduction="sum")
        loss: Tensor = _LossInPlace.apply(logits.float(), labels)  # type: ignore[no-untyped-call]
        return loss

    size = max(1, CHUNK_NUMBERS.get(hidden.device.type, SMALL) // len(head.weight))
    if not torch.is_grad_enabled():
        pieces = zip(torch.split(hidden, size), torch.split(labels, size), strict=True)
        return torch.stack([part(*piece) for piece in pieces]).sum()
    weights = [*head.parameters(), *(() if rows is None else rows.parameters())]
    learning = [weight for weight in weights if weight.requires_grad]
    loss: Tensor = _Chunks.apply(part, size, labels, hidden, *learning)  # type: ignore[no-untyped-call]
    return loss


class _LossInPlace(torch.autograd.Function):
    """Summed cross-entropy that turns the logits (N, V) into their gradient: one such tensor, not three."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        column = labels[:, None]
        own = logits.gather(1, column)
        top = logits.amax(dim=1, keepdim=True)
        total = logits.sub_(top).exp_().sum(dim=1, keepdim=True)
        logits.div_(total).scatter_add_(1, column, logits.new_full(column.shape, -1.0))
        ctx.grad = logits
        return (total.log() - (own - top)).sum()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        return ctx.grad.mul_(outer), None


class _Chunks(torch.autograd.Function):
    """A sum over chunks of rows whose gradients are made in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        part: Callable[[Tensor, Tensor], Tensor],
        size: int,
        labels: Tensor,
        hidden: Tensor,
        *learning: Tensor,
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        to_hidden = torch.empty_like(hidden)
        sums: list[Tensor] = [torch.zeros_like(weight, dtype=torch.float32) for weight in learning]
        for start in range(0, len(hidden), size):
            chosen = slice(start, start + size)
            with torch.enable_grad():
                leaf = hidden[chosen].detach().requires_grad_()
                loss = part(leaf, labels[chosen])
                to_hidden[chosen], *grads = torch.autograd.grad(loss, [leaf, *learning], allow_unused=True)
            total += loss.detach()
            for so_far, grad in zip(sums, grads, strict=True):
                if grad is not None:
                    so_far += grad
        ctx.save_for_backward(to_hidden, *(grad.to(old) for grad, old in zip(sums, learning, strict=True)))
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Any, ...]:
        return (None, None, None, *(grad * outer.to(grad.dtype) for grad in ctx.saved_tensors))


def _liger(llm: Any, hidden: Tensor, labels: Tensor) -> Tensor:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    head = llm.get_output_embeddings()
    loss: Tensor = liger_fused_linear_cross_entropy(
        hidden,
        head.weight.to(hidden.dtype),
        labels,
        bias=head.bias,
        reduction="sum",
        softcap=softcap(llm),
        accum_dtype=torch.float32,
    )
    return loss
