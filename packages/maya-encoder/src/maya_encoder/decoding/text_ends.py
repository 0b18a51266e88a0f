"""Which characters of a text each token wrote; the tokenizer alone knows, and only of whole sequences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maya_encoder.tokenizer import Tokenizer

_WINDOW = 16  # tokens decoded together: few, as each new one decodes them again
_INCOMPLETE = "\ufffd"  # what bytes that are no whole character yet decode to


def text_and_ends(
    tokens: Sequence[int], tokenizer: "Tokenizer", lang: str | None = None
) -> tuple[str, list[int]]:
    """The text of `tokens` in native script, and how many of its characters are there after each of them.

    A character of several tokens (bytes) is there with its last one. The ends never decrease, and the last
    one is the length of the text.
    """
    text = tokenizer.decode(tokens, lang)
    written, ends = _read_on(tokens, tokenizer, lang)
    if written != text:  # a tokenizer that looks back further than the window
        ends = [_agreeing(tokenizer.decode(tokens[: n + 1], lang), text) for n in range(len(tokens))]
        ends = [max(ends[: n + 1]) for n in range(len(ends))]
    if ends:
        ends[-1] = len(text)
    return text, ends


def _read_on(tokens: Sequence[int], tokenizer: "Tokenizer", lang: str | None) -> tuple[str, list[int]]:
    """Token by token, each read with some before it, since a first token has no space before it."""
    written, ends = "", []
    start, before = 0, ""
    for n in range(len(tokens)):
        now = tokenizer.decode(tokens[start : n + 1], lang)
        if now.startswith(before) and not now.endswith(_INCOMPLETE):
            written += now[len(before) :]
            before = now
            alone = tokenizer.decode(tokens[n : n + 1], lang) if n - start >= _WINDOW else ""
            if alone.strip() and now.endswith(alone):
                start, before = n, alone
        ends.append(len(written))
    return written, ends


def _agreeing(first: str, second: str) -> int:
    """Characters that two texts have in common at the beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))
