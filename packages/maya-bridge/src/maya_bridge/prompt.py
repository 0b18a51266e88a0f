"""The one prompt layout, for training and generation: embeddings, mask, positions and labels.

    <bos> [<|ctx|> hotwords <|/ctx|>] <|audio|> A_1..A_Q <|/audio|> <|transcribe|> <|LANG|> text <eos>

Rows hold no holes: padding is on the right in training and on the left in generation.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maya_bridge.text_side import CLOSE_CONTEXT, OPEN_CONTEXT, LLMTokenizer

IGNORED = -100


@dataclass(kw_only=True)
class PromptConfig:
    """How a prompt is laid out."""

    positions: Literal["rope", "restart"] = "rope"
    """rope: 0, 1, 2, ... over the row. restart: the query that predicts text token k has the position of
    speech vector k; for a projector that gives one vector a token, and an LLM that is trained for it."""
    lang_token: bool = True
    """Give the language to the LLM; without it the prompt ends with <|transcribe|>."""
    lid_prob: float = 0.0
    """Share of training rows in which the LLM learns to name the language; above 0 it can be asked."""
    window: Literal["refuse", "warn"] = "refuse"
    """What becomes of a row longer than the LLM's sliding window, whose end would not see its beginning."""

    def __post_init__(self) -> None:
        if self.positions not in ("rope", "restart"):
            raise ValueError(f"`positions` must be rope or restart, got {self.positions}")
        if self.window not in ("refuse", "warn"):
            raise ValueError(f"`window` must be refuse or warn, got {self.window}")
        if not 0 <= self.lid_prob <= 1:
            raise ValueError(f"`lid_prob` must be from 0 to 1, got {self.lid_prob}")
        if self.lid_prob and not self.lang_token:
            raise ValueError(f"`lid_prob` needs `lang_token`, got {self.lid_prob} without it")


@dataclass(frozen=True)
class PromptBatch:
    """What the LLM is called with. Pass the mask always.

    Without a mask transformers takes restarted positions for packed sequences and hides the speech from the
    text. `labels` (B, L) hold the token of their own position, IGNORED where nothing is to be learnt; `ids`
    (B, L) the token that stands there, as it was said even where another one is fed, <pad> for speech.
    """

    inputs_embeds: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor
    ids: Tensor | None = None


@dataclass(frozen=True)
class Targets:
    """Text of a batch: `labels` (B, U), right-padded, their lengths (B,), and what is fed for them."""

    labels: Tensor
    lens: Tensor
    input_ids: Tensor


@dataclass(frozen=True)
class Fixed:
    """Tokens that are neither speech nor text: before the speech (B, N), with lengths (B,), and between both.

    The tokens between (B, 2) or (B, 3) are as many in every row.
    """

    before: Tensor
    before_lens: Tensor
    between: Tensor


@dataclass(frozen=True)
class Columns:
    """Index arithmetic of a batch: each cell's column in its own row, and where the parts are; all (B, L)."""

    column: Tensor
    valid: Tensor
    speech: Tensor
    speech_index: Tensor
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
        """Positions of a training row that are neither speech nor text nor hotwords."""
        return self.num_before + self.num_between + 1

    def build(
        self,
        embed: nn.Module,
        speech_embeds: Tensor,
        speech_lens: Tensor,
        langs: Sequence[str] | None,
        targets: Targets | None = None,
        *,
        hotwords: Sequence[Sequence[str]] | None = None,
        generator: torch.Generator | None = None,
    ) -> PromptBatch:
        """Lay out speech and, in training, the text; without text the rows are left-padded.

        Args:
            embed: the LLM's input embedding.
            speech_embeds: (B, Q, H), from a projector.
            speech_lens: speech positions of each row (B,).
            langs: language of each row; None, without text only, to let the LLM name it.
            targets: the text.
            hotwords: of each row, for its context; none by default.
            generator: draws the rows that learn to name the language.
        """
        fixed = self._fixed(len(speech_lens), langs, hotwords, speech_embeds.device)
        columns = self._columns(fixed, speech_lens, None if targets is None else targets.lens + 1)
        ids = self._fixed_ids(fixed, columns, speech_lens)
        labels = torch.full_like(ids, IGNORED)
        fed = ids
        if targets is not None:
            labels = self._named_languages(ids, columns, generator)
            in_text = columns.valid & (columns.text_index >= 0)
            fed = torch.where(in_text, self._pick(targets.input_ids, targets.lens, columns), ids)
            ids = torch.where(in_text, self._pick(targets.labels, targets.lens, columns), ids)
            labels = torch.where(in_text, ids, labels)
        tokens = embed(fed.masked_fill(~columns.valid, self.tokenizer.pad_id))  # (B, L, H)
        if speech_embeds.shape[1]:
            index = columns.speech_index.clamp(0, speech_embeds.shape[1] - 1)[..., None].expand_as(tokens)
            spread = speech_embeds.to(tokens.dtype).gather(1, index)
            tokens = torch.where(columns.speech[..., None], spread, tokens)
        ids = ids.masked_fill(~columns.valid | columns.speech, self.tokenizer.pad_id)
        return PromptBatch(tokens, columns.valid.long(), self._positions(columns), labels, ids)

    def _fixed(
        self,
        batch: int,
        langs: Sequence[str] | None,
        hotwords: Sequence[Sequence[str]] | None,
        device: torch.device,
    ) -> Fixed:
        tokenizer, special = self.tokenizer, self.tokenizer.special_id
        contexts = [
            self._context(words, "en" if langs is None else langs[row])
            for row, words in enumerate(hotwords or ())
        ]
        before = [[tokenizer.bos_id, *context, special("<|audio|>")] for context in contexts or [[]] * batch]
        between = [[special("<|/audio|>"), special("<|transcribe|>")] for _ in range(batch)]
        if self.config.lang_token and langs is not None:
            between = [[*row, tokenizer.lang_id(lang)] for row, lang in zip(between, langs, strict=True)]
        lens = torch.tensor([len(row) for row in before])
        rows = [torch.tensor(row) for row in before]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_id)
        return Fixed(padded.to(device), lens.to(device), torch.tensor(between).to(device))

    def _context(self, words: Sequence[str], lang: str) -> list[int]:
        if not words:
            return []
        inside = self.tokenizer.encode(", ".join(words), lang)
        opened, closed = (self.tokenizer.context_id(token) for token in (OPEN_CONTEXT, CLOSE_CONTEXT))
        return [opened, *inside, closed]

    def _fixed_ids(self, fixed: Fixed, columns: Columns, speech_lens: Tensor) -> Tensor:
        """The fixed tokens at their columns (B, L), anything elsewhere."""
        both = torch.cat([fixed.before, fixed.between], dim=1)
        behind = columns.column - (fixed.before_lens + speech_lens)[:, None] + fixed.before.shape[1]
        index = torch.where(columns.column < fixed.before_lens[:, None], columns.column, behind)
        return both.gather(1, index.clamp(0, both.shape[1] - 1))

    def _columns(self, fixed: Fixed, speech_lens: Tensor, text_lens: Tensor | None) -> Columns:
        before = fixed.before_lens[:, None]
        before_text = before + fixed.between.shape[1] + speech_lens[:, None]
        total = before_text if text_lens is None else before_text + text_lens[:, None]  # (B, 1)
        size = int(total.max())
        column = torch.arange(size, device=speech_lens.device)[None] - (
            size - total if text_lens is None else 0
        )
        column = column.expand(len(total), -1)  # (B, L)
        speech = (column >= before) & (column < before + speech_lens[:, None])
        valid = (column >= 0) & (column < total)
        return Columns(column, valid, speech, column - before, column - before_text)

    def _named_languages(self, ids: Tensor, columns: Columns, generator: torch.Generator | None) -> Tensor:
        """Labels of the language tokens, in the share of rows that learns them."""
        labels = torch.full_like(ids, IGNORED)
        if not self.config.lid_prob:
            return labels
        drawn = torch.rand(len(ids), generator=generator).to(ids.device) < self.config.lid_prob
        return torch.where(drawn[:, None] & (columns.text_index == -1), ids, labels)

    def _pick(self, ids: Tensor, lens: Tensor, columns: Columns) -> Tensor:
        """Spread text ids (B, U) over the columns, <eos> after the last one."""
        closed = torch.cat([ids, ids.new_zeros(len(ids), 1)], dim=1).scatter(
            1, lens[:, None], self.tokenizer.eos_id
        )
        return closed.gather(1, columns.text_index.clamp(0, closed.shape[1] - 1))

    def _positions(self, columns: Columns) -> Tensor:
        if self.config.positions == "rope":
            return columns.column.clamp(min=0).masked_fill(~columns.valid, 0)
        # hotwords keep their order; <|audio|>, in front of the first speech vector, is at 0 again
        context = columns.valid & (columns.speech_index < -1)
        before = torch.where(context, columns.column, 0)
        speech = torch.where(columns.speech, columns.speech_index, before)
        return torch.where(columns.valid & (columns.text_index >= 0), columns.text_index + 1, speech)


def sliding_window(llm_config: Any) -> int | None:
    """Return the positions that the LLM's sliding layers see, None where no layer slides."""
    window: int | None = getattr(llm_config, "sliding_window", None)
    kinds = getattr(llm_config, "layer_types", None)
    return window if kinds is None or "sliding_attention" in kinds else None


def check_window(config: PromptConfig, llm_config: Any, size: int, stacklevel: int = 3) -> None:
    """Refuse rows of `size` positions, or warn of them, where the LLM's sliding window is shorter."""
    window = sliding_window(llm_config)
    if window is None or size <= window:
        return
    message = (
        f"a prompt of {size} positions is longer than the LLM's sliding window of {window}: "
        "shorten the audio or raise the projector's stride"
    )
    if config.window == "refuse":
        raise ValueError(f"{message}, or set the prompt's `window` to warn")
    warnings.warn(message, stacklevel=stacklevel)
