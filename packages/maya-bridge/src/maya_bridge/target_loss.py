"""Cross-entropy of a prompt's text, with logits at the target positions only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from maya_bridge.corruption import Corruption, swap_tokens
from maya_bridge.fused_loss import loss_at
from maya_bridge.prompt import IGNORED, PromptBatch, Targets
from maya_bridge.recompute import recomputing
from maya_bridge.text_side import LLMTokenizer


@dataclass(frozen=True)
class LossParts:
    """A summed loss and its number of tokens (text and <eos>), for the caller to normalise over all ranks."""

    loss_sum: Tensor
    num_tokens: int
    aux: Mapping[str, Tensor] = field(default_factory=dict)


def make_targets(
    tokenizer: LLMTokenizer,
    texts: Sequence[str],
    langs: Sequence[str],
    corruption: Corruption | None = None,
    generator: torch.Generator | None = None,
) -> Targets:
    """Tokenize the texts; `corruption` spoils what is fed, never what is to be predicted."""
    labels, lens = tokenizer.encode_batch(texts, langs)
    input_ids = labels
    if corruption is not None and corruption.token_swap:
        input_ids = swap_tokens(labels, tokenizer.text_ids, corruption.token_swap, generator)
    return Targets(labels, lens, input_ids)


def on_device(targets: Targets, device: torch.device) -> Targets:
    """Return the targets on `device`."""
    return Targets(targets.labels.to(device), targets.lens.to(device), targets.input_ids.to(device))


def target_loss(llm: Any, batch: PromptBatch, impl: str | None = None) -> Tensor:
    """Return the summed loss; the logits of all other positions, (B, L, vocabulary), are never made.

    Args:
        llm: any causal LLM of transformers.
        batch: right-padded rows with labels.
        impl: see `maya_bridge.fused_loss.loss_at`; what the LLM was loaded with where it is not given.
    """
    inputs = {
        "inputs_embeds": batch.inputs_embeds,
        "attention_mask": batch.attention_mask,
        "position_ids": batch.position_ids,
    }
    labels = batch.labels[:, 1:]  # (B, L - 1): what each position predicts
    counts = labels != IGNORED
    impl = str(impl or getattr(llm, "loss_impl", "auto"))
    with recomputing(llm):
        return loss_at(llm, inputs, F.pad(counts, (0, 1)), labels[counts], impl)
