"""Cross-entropy of a prompt's text, with logits at the target positions only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from maya_bridge.corruption import Corruption, swap_tokens
from maya_bridge.prompt import IGNORED, PromptBatch, Targets
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


def target_loss(llm: Any, batch: PromptBatch) -> Tensor:
    """Return the summed loss; the logits of all other positions, (B, L, vocabulary), are never made."""
    hidden = llm.model(
        inputs_embeds=batch.inputs_embeds,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
    ).last_hidden_state[:, :-1]  # (B, L - 1, H)
    labels = batch.labels[:, 1:]
    wanted = labels != IGNORED
    return F.cross_entropy(llm.lm_head(hidden[wanted]).float(), labels[wanted], reduction="sum")
