"""The LLM's tokenizer as the bridge needs it: special tokens by name, native script outside."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from maya_encoder.script import LANGS, fold, unfold

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTROL_TOKENS = ("<|audio|>", "<|/audio|>", "<|transcribe|>")
LANG_TOKENS = tuple(f"<|{lang}|>" for lang in LANGS)
SPECIAL_TOKENS = CONTROL_TOKENS + LANG_TOKENS
OPEN_CONTEXT, CLOSE_CONTEXT = "<|ctx|>", "<|/ctx|>"
"""Around hotwords; a tokenizer may do without."""
RESERVED = re.compile(r"<unused\d+>|<image_soft_token>|\[multimodal\]")
"""Tokens of Gemma that are no text, though they are not marked as special."""

_log = logging.getLogger(__name__)


class LLMTokenizer:
    """Wraps a Hugging Face fast tokenizer that knows SPECIAL_TOKENS.

    With `script="common"` the LLM reads and writes the twelve scripts folded onto one; texts given to
    and taken from this class are always in the language's own script.
    """

    def __init__(
        self,
        hf: "PreTrainedTokenizerFast",
        script: Literal["native", "common"] = "native",
        num_rows: int | None = None,
    ):
        self.hf = hf
        self.script = script
        self._backend = hf.backend_tokenizer
        # A transcript that happens to spell a special token is text, not a command.
        self._backend.encode_special_tokens = True
        self._warned = False
        added = self._backend.get_added_tokens_decoder()
        self._commands = _any_of(
            [
                token.content
                for i, token in added.items()
                if token.special or RESERVED.fullmatch(token.content)
            ]
        )
        missing = [token for token in SPECIAL_TOKENS if self._backend.token_to_id(token) is None]
        if missing:
            raise ValueError(f"the LLM's tokenizer must know {missing[0]}; see maya_bridge.spare_tokens")
        last = max(map(self.special_id, SPECIAL_TOKENS))
        if num_rows is not None and last >= num_rows:
            raise ValueError(f"the tokenizer must be the LLM's own, got special id {last} of {num_rows} rows")
        self.bos_id = self._named_id("bos_token")
        self.eos_id = self._named_id("eos_token")
        self.pad_id = self._named_id("pad_token")
        special = {self.bos_id, self.eos_id, self.pad_id, *map(self.special_id, SPECIAL_TOKENS)}
        special |= {i for i, token in added.items() if token.special}
        self._special = special
        # Gemma's tokenizer names an image token that text models have no embedding for.
        size = min(self._backend.get_vocab_size(), num_rows or self._backend.get_vocab_size())
        self.text_ids = torch.tensor([i for i in range(size) if i not in special])

    def _named_id(self, name: str) -> int:
        token = getattr(self.hf, name)
        if token is None:
            raise ValueError(f"the LLM's tokenizer must define {name}, got none")
        return self.special_id(str(token))

    def special_id(self, token: str) -> int:
        """Return the id of a special token."""
        index = self._backend.token_to_id(token)
        assert index is not None, token
        return int(index)

    def context_id(self, token: str) -> int:
        """Return the id of OPEN_CONTEXT or CLOSE_CONTEXT."""
        index = self._backend.token_to_id(token)
        if index is None:
            raise ValueError(f"hotwords need an LLM whose tokenizer knows {token}, and this one's does not")
        return int(index)

    @property
    def takes_hotwords(self) -> bool:
        """Whether there are tokens to put hotwords between."""
        return all(self._backend.token_to_id(token) is not None for token in (OPEN_CONTEXT, CLOSE_CONTEXT))

    def lang_token(self, lang: str) -> str:
        """Return the token that names a language in the prompt."""
        if lang not in LANGS:
            raise ValueError(f"`lang` must be one of {' '.join(LANGS)}, got {lang}")
        return f"<|{lang}|>"

    def lang_id(self, lang: str) -> int:
        """Return the id of `lang_token`."""
        return self.special_id(self.lang_token(lang))

    def encode(self, text: str, lang: str) -> list[int]:
        """Return the ids of a text, no <bos>, no <eos>; characters that a vocabulary lacks are left out.

        A text begins with a space, as a word inside a sentence does and as SentencePiece has it. What spells
        a special token is plain characters, and is told of once.
        """
        folded = fold(text) if self.script == "common" else text
        if not text:
            return []
        parts = self._commands.split(f" {folded}")
        if len(parts) > 1:
            self._tell(text)
        ids = self.encode_piece(parts[0])
        for command, behind in zip(parts[1::2], parts[2::2], strict=True):
            # its first character alone, so that the rest is no name of a token any more
            ids += self.encode_piece(command[:1]) + self.encode_piece(command[1:] + behind)
        return ids

    def _tell(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("a text that spells a special token is read as plain characters, like %r", text[:80])

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of a bit of text that is in the LLM's script already."""
        return list(self._backend.encode(piece, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str], langs: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids (B, U), right-padded, and their lengths (B,)."""
        rows = [torch.tensor(self.encode(text, lang)) for text, lang in zip(texts, langs, strict=True)]
        lens = torch.tensor([len(row) for row in rows])
        padded = torch.nn.utils.rnn.pad_sequence([row.long() for row in rows], True, self.pad_id)
        return padded, lens

    def decode(self, ids: Sequence[int], lang: str) -> str:
        """Return the text before the first <eos>, in the language's own script."""
        ids = list(ids)
        ids = ids[: ids.index(self.eos_id)] if self.eos_id in ids else ids
        text = self._backend.decode([i for i in ids if i not in self._special]).strip()
        return unfold(text, lang) if self.script == "common" else text

    def save(self, folder: Path) -> None:
        """Write the tokenizer as Hugging Face does."""
        self.hf.save_pretrained(folder)


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """Match any of the tokens, the longest first."""
    longest_first = sorted(filter(None, tokens), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})")
