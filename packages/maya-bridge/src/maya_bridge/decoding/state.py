"""A batch of prompts in an LLM's cache, and the tokens that were written behind them, row by row.

Rows need not advance together: each has its own length, and its positions count on from its own prompt. The
cache is a plain one without windows; masks say what a token sees, so sliding windows count a row's own
tokens, whatever padding lies between them.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from maya_bridge.decoding.few_rows import few_rows
from maya_bridge.decoding.injected import Ids, Injected
from maya_bridge.decoding.lazy_logits import LazyLogits
from maya_bridge.fused_loss import ends_in_its_head, softcap
from maya_bridge.projectors import Injection
from maya_bridge.prompt import PromptBatch


def prompt_rows(prompt: PromptBatch, rows: Sequence[int]) -> PromptBatch:
    """Return some rows of a left-padded batch, without columns that are padding in all of them."""
    chosen = list(rows)
    start = int(prompt.attention_mask[chosen].any(dim=0).nonzero()[0, 0])
    parts = (prompt.inputs_embeds, prompt.attention_mask, prompt.position_ids, prompt.labels)
    return PromptBatch(*(part[chosen, start:] for part in parts))


def refuse_flash(llm: Any) -> None:
    """Raise for an attention that cannot take the masks of a run."""
    kind = str(getattr(llm.config, "_attn_implementation", None) or "")
    if "flash" in kind or "flex" in kind:
        raise ValueError(f"the LLM must be loaded with attention sdpa or eager to write text, got {kind}")


class LLMRun:
    """The state of a search. Logits are float32, and nothing here keeps a graph.

    Attributes:
        written: ids fed behind each prompt, B lists.
        rows: which row of the prompt batch each row goes back to, (B,).
        passes: calls of the LLM that each row took part in, (B,), the prompt's own counted.
    """

    def __init__(self, llm: Any, injected: Injected | None = None):
        """Begin without a prompt.

        Raises:
            ValueError: an LLM whose attention takes no masks of our making.
        """
        from transformers import DynamicCache

        refuse_flash(llm)
        self.llm = llm
        self.injected = injected
        self._cache: Any = DynamicCache()
        self._embed = llm.get_input_embeddings()
        self.written: Ids = []
        self.device = self._embed.weight.device
        self.rows = self.passes = self._prompt_lens = self._first = torch.zeros(0, dtype=torch.long)
        self._valid = torch.zeros(0, 0, dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.written)

    @property
    def lens(self) -> Tensor:
        """Tokens written behind each prompt (B,)."""
        return torch.tensor([len(row) for row in self.written], device=self.device)

    def prefill(self, prompt: PromptBatch) -> Tensor:
        """Read the prompts, left-padded; return the logits (B, V) of each row's first token."""
        nothing = torch.zeros(len(prompt.inputs_embeds), 0, dtype=torch.long, device=self.device)
        return self.prefill_with(prompt, nothing)[:, 0]

    def prefill_with(
        self,
        prompt: PromptBatch,
        ids: Tensor,
        lens: Tensor | None = None,
        rows: Sequence[int] | None = None,
    ) -> Tensor:
        """Read the prompts and tokens behind them in one pass.

        Args:
            prompt: left-padded rows.
            ids: (B, K), right-padded.
            lens: how many of the ids count in each row (B,); all by default.
            rows: those of the prompt batch that are read; all by default.

        Returns:
            (B, 1 + K, V): of the last position of the prompt, then of each of `ids`.
        """
        return self._logits(*self._first_pass(prompt, ids, lens, rows))

    def verify_behind(
        self, prompt: PromptBatch, ids: Tensor, lens: Tensor, rows: Sequence[int] | None = None
    ) -> "LazyLogits":
        """The same for a draft: its logits are made where they are asked for."""
        return self._lazy_logits(*self._first_pass(prompt, ids, lens, rows))

    @torch.no_grad()
    def _first_pass(
        self, prompt: PromptBatch, ids: Tensor, lens: Tensor | None, rows: Sequence[int] | None
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """Begin with `rows` of the prompts; return what one pass reads, and for how many logits."""
        prompt = prompt if rows is None else prompt_rows(prompt, rows)
        batch = len(prompt.inputs_embeds)
        self.written = [[] for _ in range(batch)]
        self.rows = torch.tensor(range(batch) if rows is None else rows, device=self.device)
        self.passes = torch.zeros_like(self.rows)
        self._prompt_lens = prompt.attention_mask.sum(dim=1)
        self._first = prompt.position_ids[:, -1] + 1
        self._valid = torch.zeros(batch, 0, dtype=torch.bool, device=self.device)
        taken = self._take(ids, lens)
        positions = torch.cat([prompt.position_ids, self._first[:, None] + self._places(taken)], dim=1)
        embeds = torch.cat([prompt.inputs_embeds, self._embed(ids)], dim=1)
        valid = torch.cat([prompt.attention_mask.bool(), taken], dim=1)
        return embeds, valid, positions, 1 + ids.shape[1]

    def step(self, ids: Tensor, lens: Tensor | None = None) -> Tensor:
        """Write tokens behind each row in one pass.

        Args:
            ids: (B,) or (B, K), right-padded.
            lens: how many of the ids count in each row (B,), 0 to K; all by default.

        Returns:
            (B, K, V): of the token that follows each of `ids`; of no meaning where an id does not count.
        """
        return self._logits(*self._next_pass(ids[:, None] if ids.dim() == 1 else ids, lens))

    def verify(self, ids: Tensor, lens: Tensor) -> "LazyLogits":
        """The same for a draft: its logits are made where they are asked for."""
        return self._lazy_logits(*self._next_pass(ids, lens))

    @torch.no_grad()
    def _next_pass(self, ids: Tensor, lens: Tensor | None) -> tuple[Tensor, Tensor, Tensor, int]:
        before = self.lens
        taken = self._take(ids, lens)
        positions = (self._first + before)[:, None] + self._places(taken)
        return self._embed(ids), taken, positions, ids.shape[1]

    def crop(self, lens: Tensor) -> None:
        """Take back what lies behind the first `lens` (B,) written tokens of each row."""
        kept = self._valid & (self._valid.cumsum(dim=1) <= (self._prompt_lens + lens)[:, None])
        self.written = [row[:count] for row, count in zip(self.written, lens.tolist(), strict=True)]
        used = kept.any(dim=0).nonzero()[[0, -1], 0].tolist()
        if bool(kept[:, used[1]].all()):
            self._slice(kept, used[0], used[1] + 1)
        else:
            self._close_holes(kept)

    def reorder(self, rows: Tensor | Sequence[int]) -> None:
        """Go on with `rows` of the present ones; some may be left out, others taken more than once."""
        chosen = torch.as_tensor(rows, dtype=torch.long, device=self.device)
        self.written = [list(self.written[row]) for row in chosen.tolist()]
        self.rows, self.passes = self.rows[chosen], self.passes[chosen]
        self._prompt_lens, self._first = self._prompt_lens[chosen], self._first[chosen]
        valid = self._valid[chosen]
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[chosen], layer.values[chosen]
        start = int(valid.any(dim=0).nonzero()[0, 0]) if len(chosen) else 0
        self._slice(valid, start, valid.shape[1])

    def expand(self, copies: int) -> None:
        """Repeat each row `copies` times; the copies of a row lie next to each other."""
        self.reorder(torch.arange(len(self), device=self.device).repeat_interleave(copies))

    def _take(self, ids: Tensor, lens: Tensor | None) -> Tensor:
        """Note the ids as written; return which of them count (B, K)."""
        counts = [ids.shape[1]] * len(ids) if lens is None else lens.tolist()
        for row, new, count in zip(self.written, ids.tolist(), counts, strict=True):
            row.extend(new[:count])
        column = torch.arange(ids.shape[1], device=self.device)
        return column[None] < torch.tensor(counts, device=self.device)[:, None]

    @staticmethod
    def _places(taken: Tensor) -> Tensor:
        return (taken.long().cumsum(dim=1) - 1).clamp(min=0)

    @torch.no_grad()
    def _logits(self, embeds: Tensor, valid: Tensor, positions: Tensor, count: int) -> Tensor:
        """Return the logits of the last `count` positions of one pass."""
        with self._reading(valid):
            inputs = self._inputs(embeds, positions)
            return self.llm(**inputs, logits_to_keep=count).logits.float()  # type: ignore[no-any-return]

    @torch.no_grad()
    def _lazy_logits(self, embeds: Tensor, valid: Tensor, positions: Tensor, count: int) -> "LazyLogits":
        if not ends_in_its_head(self.llm):
            return LazyLogits(self._logits(embeds, valid, positions, count), nn.Identity())
        with self._reading(valid), few_rows(embeds.shape[0] * embeds.shape[1]):
            hidden = self.llm.base_model(**self._inputs(embeds, positions)).last_hidden_state
        return LazyLogits(hidden[:, -count:], self._head)

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.llm.get_output_embeddings()(hidden)
        cap = softcap(self.llm)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _reading(self, valid: Tensor) -> AbstractContextManager[None]:
        """Count a pass over new columns (B, K), True where something stands, and let the injection in."""
        self._valid = torch.cat([self._valid, valid], dim=1)
        self.passes = self.passes + valid.any(dim=1)
        if self.injected is None:
            return nullcontext()
        from maya_bridge.injection_hooks import injected

        return injected(self.llm, self._injection(), self._unit_index(valid))

    def _inputs(self, embeds: Tensor, positions: Tensor) -> dict[str, Any]:
        return {
            "inputs_embeds": embeds,
            "attention_mask": self._masks(embeds.shape[1]),
            "position_ids": positions,
            "past_key_values": self._cache,
            "use_cache": True,
        }

    def _masks(self, num_queries: int) -> Any:
        """Additive masks (B, 1, K, C): one, or one a kind of layer where some slide."""
        order = self._valid.cumsum(dim=1)  # (B, C): columns in the count of the row's own tokens
        distance = order[:, -num_queries:, None] - order[:, None]  # (B, K, C)
        column = torch.arange(self._valid.shape[1], device=self.device)
        causal = self._valid[:, None] & (column <= column[-num_queries:, None])
        config = self.llm.config
        window = getattr(config, "sliding_window", None) or self._valid.shape[1] + 1
        kinds = getattr(config, "layer_types", None)
        if kinds is None or "sliding_attention" not in kinds:
            return self._additive(causal & (distance < window) if kinds is None else causal)
        near = self._additive(causal & (distance < window))
        return {"full_attention": self._additive(causal), "sliding_attention": near}

    def _additive(self, seen: Tensor) -> Tensor:
        dtype = self._embed.weight.dtype
        # Padding sees nothing; a finite number instead of -inf keeps its softmax from giving NaN.
        mask = torch.zeros(seen.shape, dtype=dtype, device=self.device)
        return mask.masked_fill(~seen, torch.finfo(dtype).min)[:, None]

    def _slice(self, valid: Tensor, start: int, end: int) -> None:
        self._valid = valid[:, start:end]
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[:, :, start:end], layer.values[:, :, start:end]

    def _close_holes(self, kept: Tensor) -> None:
        """Move what is kept of each row to its right end."""
        width = int(kept.sum(dim=1).max())
        order = kept.to(torch.uint8).argsort(dim=1, stable=True)[:, -width:]  # (B, width)
        self._valid = kept.gather(1, order)
        for layer in self._cache.layers:
            index = order[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
            layer.keys, layer.values = layer.keys.gather(2, index), layer.values.gather(2, index)

    def _injection(self) -> Injection:
        assert self.injected is not None
        injection: Any = self.injected.injection
        return injection.select(self.rows)  # type: ignore[no-any-return]

    def _unit_index(self, valid: Tensor) -> Tensor:
        """How many units are written at each of the new columns (B, K)."""
        assert self.injected is not None
        counts = self.injected.count_units(self.written, self.rows).to(self.device)  # (B, 1 + longest)
        total = self._valid.cumsum(dim=1)[:, -valid.shape[1] :]
        place = (total - self._prompt_lens[:, None]).clamp(0, counts.shape[1] - 1)
        return counts.gather(1, place)
