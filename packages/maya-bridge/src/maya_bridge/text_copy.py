"""Warm-up of an LLM on text alone: copy a sentence from its noisy embeddings, put where speech will be."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maya_bridge.corruption import Corruption, close_gaps
from maya_bridge.projectors import valid_mask
from maya_bridge.prompt import Prompt
from maya_bridge.target_loss import LossParts, make_targets, on_device, target_loss
from maya_bridge.text_side import LLMTokenizer

DROPPED = REPLACED = INSERTED = 0.03
NOISE = 0.3


def text_copy_loss(
    llm: Any,
    tokenizer: LLMTokenizer,
    prompt: Prompt,
    texts: Sequence[str],
    langs: Sequence[str],
    generator: torch.Generator | None = None,
    corruption: Corruption | None = None,
) -> LossParts:
    """Return the loss of the sentences behind their own noisy token embeddings.

    Only `token_swap` of `corruption` counts: the prefix has its own noise.
    """
    embed = llm.get_input_embeddings()
    device = embed.weight.device
    targets = make_targets(tokenizer, texts, langs, corruption, generator)
    prefix, prefix_lens = noisy_copy(targets.labels, targets.lens, tokenizer.text_ids, generator)
    speech_embeds = embed(prefix.to(device))  # (B, Q, H)
    noise = torch.randn(speech_embeds.shape, generator=generator).to(speech_embeds)
    speech_embeds = speech_embeds + NOISE * speech_embeds.detach().std() * noise
    targets = on_device(targets, device)
    batch = prompt.build(embed, speech_embeds, prefix_lens.to(device), langs, targets)
    return LossParts(target_loss(llm, batch), int(targets.lens.sum()) + len(texts))


def noisy_copy(
    ids: Tensor, lens: Tensor, text_ids: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Drop, replace and insert tokens of (B, U); an empty result keeps the first token."""
    draw = torch.rand(ids.shape, generator=generator)
    random_ids = text_ids[torch.randint(len(text_ids), (2, *ids.shape), generator=generator)]
    valid = valid_mask(lens, ids.shape[1])
    replaced = (draw >= DROPPED) & (draw < DROPPED + REPLACED)
    own = torch.where(replaced, random_ids[0], ids)
    kept = valid & (draw >= DROPPED)
    kept[:, :1] |= ~kept.any(dim=1, keepdim=True) & valid[:, :1]
    inserted = valid & (draw > 1 - INSERTED)
    pairs = torch.stack([own, random_ids[1]], dim=2).flatten(1)  # (B, 2U)
    return close_gaps(pairs, torch.stack([kept, inserted], dim=2).flatten(1))
