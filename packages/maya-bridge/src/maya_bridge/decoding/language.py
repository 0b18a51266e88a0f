"""Which language is spoken, as the LLM itself says: its best language token behind the prompt."""

from collections.abc import Sequence
from typing import Any

import torch

from maya_bridge.decoding.injected import Injected
from maya_bridge.decoding.state import LLMRun
from maya_bridge.prompt import PromptBatch
from maya_bridge.text_side import LLMTokenizer
from maya_encoder.script import LANGS


def recognise_languages(
    llm: Any,
    tokenizer: LLMTokenizer,
    prompt: PromptBatch,
    among: Sequence[str] = LANGS,
    injected: Injected | None = None,
) -> list[tuple[str, float]]:
    """Return the likeliest language of each row and its probability among those that are possible.

    Args:
        llm: that learnt to name the language.
        tokenizer: the LLM's.
        prompt: left-padded rows that end before the language token.
        among: languages that are possible.
        injected: speech inside the LLM, where the projector injects it.

    Raises:
        ValueError: no possible language, or one that the prompt has no token for.
    """
    if not among:
        raise ValueError("`among` must name a language or more, got none")
    ids = torch.tensor([tokenizer.lang_id(lang) for lang in among])
    logits = LLMRun(llm, injected).prefill(prompt)
    probabilities, best = logits[:, ids.to(logits.device)].softmax(dim=-1).max(dim=-1)
    return [(among[i], p) for i, p in zip(best.tolist(), probabilities.tolist(), strict=True)]
