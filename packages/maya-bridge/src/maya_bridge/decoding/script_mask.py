"""Which tokens a language may be written with: its script, ASCII and punctuation."""

import unicodedata
from functools import lru_cache
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from maya_bridge.text_side import LLMTokenizer
from maya_encoder.script import BLOCKS, LANGS

DEVANAGARI = 0x900
BLOCK_SIZE = 0x80
SHARED = frozenset("\u0964\u0965\u200c\u200d")
"""Dandas, which all the scripts share, and the joiners."""
HALF_CHARACTER = "\ufffd"

_MASKS: "WeakKeyDictionary[LLMTokenizer, dict[int | None, Tensor]]" = WeakKeyDictionary()
_SURFACES: "WeakKeyDictionary[LLMTokenizer, list[str]]" = WeakKeyDictionary()


def block_of(lang: str) -> int | None:
    """Return the first character of the Unicode block of a language; None for English."""
    if lang not in LANGS:
        raise ValueError(f"`lang` must be one of {' '.join(LANGS)}, got {lang}")
    return BLOCKS.get(lang)


@lru_cache(maxsize=65536)
def fits(character: str, block: int | None) -> bool:
    """Return whether a character belongs to a block, to ASCII, or to no script at all as punctuation does."""
    if character.isascii() or character in SHARED:
        return True
    if block is not None and block <= ord(character) < block + BLOCK_SIZE:
        return True
    kind = unicodedata.category(character)
    return (kind[0] in "PZ" or kind == "Sc") and not _of_any_block(character)


def _of_any_block(character: str) -> bool:
    return any(start <= ord(character) < start + BLOCK_SIZE for start in BLOCKS.values())


def in_script(text: str, lang: str) -> str:
    """Return a text in native script without the characters that its language is not written with."""
    block = block_of(lang)
    return " ".join("".join(c for c in text if fits(c, block)).split())


def allowed_tokens(tokenizer: LLMTokenizer, lang: str) -> Tensor:
    """Return a mask (V,) that is True at <eos> and at the tokens of a language.

    Tokens that are part of a character only are allowed to all: some letters have no token of their own.
    """
    block = block_of(lang)
    if block is not None and tokenizer.script == "common":
        block = DEVANAGARI
    masks = _MASKS.setdefault(tokenizer, {})
    if block not in masks:
        surfaces = _surfaces(tokenizer)
        mask = torch.zeros(len(surfaces), dtype=torch.bool)
        ids = tokenizer.text_ids.tolist()
        mask[ids] = torch.tensor([_is_writable(surfaces[i], block) for i in ids])
        # Added tokens are markup and spare entries, which are spelled in ASCII.
        mask[list(tokenizer.hf.backend_tokenizer.get_added_tokens_decoder())] = False
        mask[tokenizer.eos_id] = True
        masks[block] = mask
    return masks[block]


def _is_writable(surface: str, block: int | None) -> bool:
    return all(fits(c, block) or c == HALF_CHARACTER for c in surface)


def _surfaces(tokenizer: LLMTokenizer) -> list[str]:
    if tokenizer not in _SURFACES:
        size = tokenizer.hf.backend_tokenizer.get_vocab_size()
        single = [[index] for index in range(size)]
        _SURFACES[tokenizer] = tokenizer.hf.backend_tokenizer.decode_batch(single, skip_special_tokens=False)
    return _SURFACES[tokenizer]


def allowed_in_batch(tokenizer: LLMTokenizer, langs: list[str], num_outputs: int) -> Tensor:
    """Return what each row may write (B, num_outputs); the LLM's outputs may differ from the vocabulary."""
    masks = {lang: allowed_tokens(tokenizer, lang) for lang in set(langs)}
    result = torch.zeros(len(langs), num_outputs, dtype=torch.bool)
    for row, lang in enumerate(langs):
        size = min(num_outputs, len(masks[lang]))
        result[row, :size] = masks[lang][:size]
    return result
