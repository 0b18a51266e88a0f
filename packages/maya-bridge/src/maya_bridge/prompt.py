"""The one prompt layout, for training and generation: embeddings, mask, positions and labels.

    <bos> <|audio|> A_1..A_Q <|/audio|> <|transcribe|> <|LANG|> text <eos>

Rows hold no holes: padding is on the right in training and on the left in generation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from maya_bridge.text_side import LLMTokenizer

IGNORED = -100


@dataclass(kw_only=True)
class PromptConfig:
    """How a prompt is laid out."""

    positions: Literal["rope", "restart"] = "rope"
    """rope: 0, 1, 2, ... over the row. restart: the query that predicts text token k has the position of
    speech vector k; for a projector that gives one vector a token, and an LLM that is trained for it."""
    lang_token: bool = True
    """Give the language to the LLM; without it the prompt ends with <|transcribe|>."""

    def __post_init__(self) -> None:
        if self.positions not in ("rope", "restart"):
            raise ValueError(f"`positions` must be rope or restart, got {self.positions}")


@dataclass(frozen=True)
class PromptBatch:
    """What the LLM is called with. Pass the mask always.

    Without a mask transformers takes restarted positions for packed sequences and hides the speech from the
    text. `labels` (B, L) hold the token of their own position, IGNORED where nothing is to be learnt.
    """

    inputs_embeds: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Targets:
    """Text of a batch: `labels` (B, U), right-padded, their lengths (B,), and what is fed for them."""

    labels: Tensor
    lens: Tensor
    input_ids: Tensor


@dataclass(frozen=True)
class Columns:
    """Index arithmetic of a batch: each cell's column in its own row, and where the parts are; all (B, L)."""

    column: Tensor
    valid: Tensor
    speech: Tensor
    text_index: Tensor


class Prompt:
    """Builds prompts for one LLM."""

    def __init__(self, config: PromptConfig, tokenizer: LLMTokenizer):
        self.config = config
        self.tokenizer = tokenizer
        self.num_before = 2
        self.num_between = 3 if config.lang_token else 2

    @property
    def overhead(self) -> int:
        """Positions of a training row that are neither speech nor text."""
        return self.num_before + self.num_between + 1

    def build(
        self,
        embed: nn.Module,
        speech_embeds: Tensor,
        speech_lens: Tensor,
        langs: Sequence[str],
        targets: Targets | None = None,
    ) -> PromptBatch:
        """Lay out speech (B, Q, H) and, in training, the text; without text the rows are left-padded."""
        fixed = self._fixed_ids(langs).to(speech_embeds.device)  # (B, 5)
        columns = self._columns(speech_embeds, speech_lens, None if targets is None else targets.lens + 1)
        fixed_index = torch.where(
            columns.column < self.num_before, columns.column, columns.column - speech_lens[:, None]
        )
        ids = fixed.gather(1, fixed_index.clamp(0, fixed.shape[1] - 1))
        labels = torch.full_like(ids, IGNORED)
        if targets is not None:
            in_text = columns.valid & (columns.text_index >= 0)
            ids = torch.where(in_text, self._pick(targets.input_ids, targets.lens, columns), ids)
            labels = torch.where(in_text, self._pick(targets.labels, targets.lens, columns), labels)
        ids = ids.masked_fill(~columns.valid, self.tokenizer.pad_id)
        tokens = embed(ids)  # (B, L, H)
        if speech_embeds.shape[1]:
            index = (columns.column - self.num_before).clamp(0, speech_embeds.shape[1] - 1)
            spread = speech_embeds.to(tokens.dtype).gather(1, index[..., None].expand_as(tokens))
            tokens = torch.where(columns.speech[..., None], spread, tokens)
        return PromptBatch(tokens, columns.valid.long(), self._positions(columns), labels)

    def _fixed_ids(self, langs: Sequence[str]) -> Tensor:
        special = self.tokenizer.special_id
        row = [self.tokenizer.bos_id, special("<|audio|>"), special("<|/audio|>"), special("<|transcribe|>")]
        tails = [[self.tokenizer.lang_id(lang)] if self.config.lang_token else [] for lang in langs]
        return torch.tensor([row + tail for tail in tails])

    def _columns(self, speech_embeds: Tensor, speech_lens: Tensor, text_lens: Tensor | None) -> Columns:
        before_text = self.num_before + self.num_between + speech_lens[:, None]
        total = before_text if text_lens is None else before_text + text_lens[:, None]  # (B, 1)
        size = int(total.max())
        column = torch.arange(size, device=speech_embeds.device)[None] - (
            size - total if text_lens is None else 0
        )
        column = column.expand(len(total), -1)  # (B, L)
        speech = (column >= self.num_before) & (column < self.num_before + speech_lens[:, None])
        return Columns(column, (column >= 0) & (column < total), speech, column - before_text)

    def _pick(self, ids: Tensor, lens: Tensor, columns: Columns) -> Tensor:
        """Spread text ids (B, U) over the columns, <eos> after the last one."""
        closed = torch.cat([ids, ids.new_zeros(len(ids), 1)], dim=1).scatter(
            1, lens[:, None], self.tokenizer.eos_id
        )
        return closed.gather(1, columns.text_index.clamp(0, closed.shape[1] - 1))

    def _positions(self, columns: Columns) -> Tensor:
        if self.config.positions == "rope":
            return columns.column.clamp(min=0).masked_fill(~columns.valid, 0)
        speech = torch.where(columns.speech, columns.column - self.num_before, 0)
        return torch.where(columns.valid & (columns.text_index >= 0), columns.text_index + 1, speech)
