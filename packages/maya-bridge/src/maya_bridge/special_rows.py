"""Training the special tokens' rows of a frozen LLM's embedding, and nothing else of it.

A pretrained LLM has rows for its unused tokens, but they mean nothing. `SpecialRows` holds what is added to
the rows of our tokens: on the way in, and on the way out for the tokens that the LLM predicts. Gradients
never touch the embedding itself, hundreds of millions of numbers for these few rows.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from maya_bridge.spare_tokens import SPARE_TOKENS
from maya_encoder.script import LANGS

if TYPE_CHECKING:
    from maya_bridge.text_side import LLMTokenizer

ATTRIBUTE = "special_rows"
"""Where the module lives in the LLM; also the first part of its tensors' names."""

LANG_NAMES = {
    "as": "Assamese",
    "bn": "Bengali",
    "en": "English",
    "gu": "Gujarati",
    "hi": "Hindi",
    "kn": "Kannada",
    "ml": "Malayalam",
    "mr": "Marathi",
    "or": "Odia",
    "pa": "Punjabi",
    "ta": "Tamil",
    "te": "Telugu",
}
MEANING = {
    "<|audio|>": "audio",
    "<|/audio|>": "end",
    "<|transcribe|>": "transcribe",
    "<|ctx|>": "context",
    "<|/ctx|>": "end",
    "<|nospeech|>": "silence",
} | {f"<|{lang}|>": LANG_NAMES[lang] for lang in LANGS}
"""The word that a token begins as."""


class SpecialRows(nn.Module):
    """What is added to N rows of an embedding of width H, in float32 whatever the LLM is in.

    Attributes:
        delta: (N, H), in the units of the embedding's weight.
        head_delta: the same for the rows of an output layer of its own; None where the two are tied.
    """

    ids: Tensor

    def __init__(self, ids: Tensor, delta: Tensor, tied: bool) -> None:
        super().__init__()
        self.register_buffer("ids", ids, persistent=False)
        self.delta = nn.Parameter(delta.float())
        self.head_delta = None if tied else nn.Parameter(torch.zeros_like(self.delta))
        self._hooks: list[Any] = []

    def hook(self, llm: Any) -> None:
        """Let every use of the LLM's embedding and output layer see the rows."""
        self._hooks = [
            llm.get_input_embeddings().register_forward_hook(self._on_the_way_in),
            llm.get_output_embeddings().register_forward_hook(self._on_the_way_out),
        ]

    def unhook(self) -> None:
        """Leave the LLM as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _on_the_way_in(self, embedding: nn.Module, args: tuple[Tensor], embeds: Tensor) -> Tensor:
        chosen = args[0][..., None] == self.ids  # (B, L, N)
        scaled = self.delta * getattr(embedding, "embed_scale", 1.0)
        return embeds + chosen.to(embeds.dtype) @ scaled.to(embeds.dtype)

    def _on_the_way_out(self, head: nn.Module, args: tuple[Tensor], logits: Tensor) -> Tensor:
        delta = self.delta if self.head_delta is None else self.head_delta
        return logits.index_add_(-1, self.ids, (args[0] @ delta.to(args[0].dtype).T).to(logits.dtype))

    def folded(self, weight: Tensor, head: bool = False) -> Tensor:
        """Return an embedding's weight (V, H), or the output layer's, with the rows added."""
        delta = self.head_delta if head and self.head_delta is not None else self.delta
        rows = weight[self.ids].float() + delta.detach().to(weight.device)
        return weight.detach().index_copy(0, self.ids.to(weight.device), rows.to(weight.dtype))


def rows_of(llm: Any) -> SpecialRows | None:
    """Return the trainable rows of an LLM, None where it has none."""
    return getattr(llm, ATTRIBUTE, None)


def attach_rows(llm: Any, tokenizer: "LLMTokenizer") -> SpecialRows:
    """Give the LLM trainable rows for our special tokens, which begin as what they mean in plain words."""
    if (present := rows_of(llm)) is not None:
        return present
    hf = tokenizer.hf.backend_tokenizer
    tokens = [token for token in SPARE_TOKENS if hf.token_to_id(token) is not None]
    ids = torch.tensor([tokenizer.special_id(token) for token in tokens])
    weight = llm.get_input_embeddings().weight
    delta = torch.stack([_to_meaning(weight, tokenizer, token) for token in tokens])
    tied = llm.get_output_embeddings().weight is weight
    rows = SpecialRows(ids.to(weight.device), delta, tied)
    llm.add_module(ATTRIBUTE, rows)
    rows.hook(llm)
    return rows


@torch.no_grad()
def _to_meaning(weight: Tensor, tokenizer: "LLMTokenizer", token: str) -> Tensor:
    """What leads from a token's row to the mean row of its word, at the length of that word's rows."""
    own = weight[tokenizer.special_id(token)].float()
    ids = tokenizer.encode_piece(f" {MEANING[token]}")
    if not ids:  # the LLM's alphabet cannot spell it
        return torch.zeros_like(own)
    rows = weight[torch.tensor(ids, device=weight.device)].float()
    mean = rows.mean(dim=0)
    row: Tensor = mean * rows.norm(dim=1).mean() / mean.norm().clamp(min=1e-6)
    return row - own


@torch.no_grad()
def fold_rows(llm: Any) -> None:
    """Write the trained rows into the LLM's own weights and take the module away."""
    rows = rows_of(llm)
    if rows is None:
        return
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    if rows.head_delta is not None:
        head.weight.copy_(rows.folded(head.weight, head=True))
    embedding.weight.copy_(rows.folded(embedding.weight))
    rows.unhook()
    delattr(llm, ATTRIBUTE)


def weight_names(llm: Any) -> Iterable[tuple[str, bool]]:
    """Yield the names, in the LLM's state, of the embedding's weight and of the output layer's (True)."""
    wanted = {id(llm.get_output_embeddings()): True, id(llm.get_input_embeddings()): False}
    for name, module in llm.named_modules():
        if id(module) in wanted:
            yield f"{name}.weight", wanted[id(module)]
