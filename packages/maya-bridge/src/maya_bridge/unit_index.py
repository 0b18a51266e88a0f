"""Where the text of the LLM is among the units of the acoustic model: both count characters, not tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maya_bridge.text_side import LLMTokenizer

INCOMPLETE = "\ufffd"  # what bytes that are no whole character yet decode to


def unit_index(
    ids: Sequence[Sequence[int]] | Tensor, tokenizer: LLMTokenizer, char_ends: Tensor, unit_lens: Tensor
) -> Tensor:
    """Return for each LLM position the number of units whose characters are all written there (B, L).

    It never falls along a row, and stays where a token ends inside a character. The prompt up to
    <|transcribe|>, special tokens and padding write nothing.

    Args:
        ids: LLM token ids of the batch as the LLM sees them, padded to one length on either side.
        tokenizer: of the LLM.
        char_ends: characters of the text that are there after each unit (B, U).
        unit_lens: units of each utterance (B,).
    """
    rows = ids.tolist() if isinstance(ids, Tensor) else ids
    counts = [characters_written(row, tokenizer) for row in rows]
    written = torch.tensor(counts, dtype=torch.int64, device=char_ends.device).reshape(
        len(rows), -1
    )  # (B, L)
    real = torch.arange(char_ends.shape[1], device=char_ends.device) < unit_lens[:, None]  # (B, U)
    done = (char_ends[:, None] <= written[..., None]) & real[:, None]  # (B, L, U)
    return done.sum(dim=2)


def characters_written(ids: Sequence[int], tokenizer: LLMTokenizer) -> list[int]:
    """Return how many characters of the transcript are there after each token; a leading space is none."""
    row = list(ids)
    start = tokenizer.special_id("<|transcribe|>")
    begin = len(row) - row[::-1].index(start) if start in row else 0
    decode = tokenizer.hf.backend_tokenizer.decode  # leaves special tokens out
    text, counts = "", [0] * begin
    shown, read = begin, begin  # tokens that give a new one its surroundings, and those whose text is known
    for end in range(begin + 1, len(row) + 1):
        before, now = decode(row[shown:read]), decode(row[shown:end])
        if len(now) > len(before) and not now.endswith(INCOMPLETE):
            text += now[len(before) :]
            shown, read = read, end
        counts.append(len(text.lstrip()))
    return counts
