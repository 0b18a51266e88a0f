"""Warm-up of the LLM on text alone: it learns to write down what its own noisy token embeddings say."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from maya_bridge.corruption import Corruption
from maya_bridge.llm import save_llm
from maya_bridge.prompt import Prompt, PromptConfig
from maya_bridge.text_copy import text_copy_loss
from maya_bridge.text_side import LLMTokenizer
from maya_data.loading.batch import Batch
from maya_train.tasks import Moment, TaskLoss, Work, freeze_all_but, pick


class TextCopyTask(nn.Module):
    """Trains `llm`; its batches need no audio, and its model is the LLM's own folder."""

    def __init__(
        self,
        llm: Any,
        tokenizer: LLMTokenizer,
        prompt: PromptConfig,
        train: Iterable[str],
        corruption: Corruption | None = None,
    ) -> None:
        super().__init__()
        self.model = llm
        self.made_by: dict[str, Any] = {}
        self._tokenizer = tokenizer
        self._prompt = Prompt(prompt, tokenizer)
        self._trained = pick({"llm": llm}, train, "text_copy")
        self._corruption = corruption
        freeze_all_but(llm, self._trained.values())

    def trained(self) -> Mapping[str, nn.Module]:
        """The LLM."""
        return self._trained

    def begins(self, total: int) -> Mapping[str, int]:
        """The loss is there from the first step."""
        return {}

    def set_modes(self) -> None:
        """The LLM is in training mode."""
        self.model.train()

    def prepare(self, batch: Batch) -> Work:
        """The number of text tokens, each text's end counted."""
        _, lens = self._tokenizer.encode_batch(batch.texts, batch.langs)
        return Work(batch, int(lens.sum()) + len(batch.texts))

    def forward(self, work: Work, moment: Moment) -> TaskLoss:
        """The loss of the sentences behind their own noisy embeddings."""
        batch = work.batch
        parts = text_copy_loss(
            self.model,
            self._tokenizer,
            self._prompt,
            batch.texts,
            batch.langs,
            corruption=self._corruption,
        )
        assert parts.num_tokens == work.num_tokens
        return TaskLoss(parts.loss_sum, {}, {})

    def scored(self, moment: Moment) -> Sequence[str]:
        """Nothing: there is no audio yet."""
        return []

    def transcribe(self, batch: Batch, heads: Sequence[str]) -> dict[str, list[str]]:
        """Nothing."""
        return {}

    def save(self, folder: Path) -> None:
        """Write the LLM with its tokenizer as Hugging Face does, whole or not at all."""
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        save_llm(self.model, part)
        self._tokenizer.save(part)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
