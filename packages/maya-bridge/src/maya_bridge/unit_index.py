"""Where the text of the LLM is among the units of the acoustic model: both count characters, not tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maya_bridge.projectors import Injection
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
    return units_written(_matrix(counts, char_ends.device), char_ends, unit_lens)


def _matrix(counts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    return torch.tensor(counts, dtype=torch.int64, device=device).reshape(len(counts), -1)


def units_written(written: Tensor, char_ends: Tensor, unit_lens: Tensor) -> Tensor:
    """Return how many units (B, L) end within the characters `written` (B, L)."""
    real = torch.arange(char_ends.shape[1], device=char_ends.device) < unit_lens[:, None]  # (B, U)
    done = (char_ends[:, None] <= written[..., None]) & real[:, None]  # (B, L, U)
    return done.sum(dim=2)


def characters_written(ids: Sequence[int], tokenizer: LLMTokenizer) -> list[int]:
    """Return how many characters of the transcript are there after each token; a leading space is none."""
    return CharacterCount(tokenizer)(ids)


class CharacterCount:
    """`characters_written` of a text that grows: a call decodes only what is new since the last one."""

    def __init__(self, tokenizer: LLMTokenizer):
        self._decode = tokenizer.hf.backend_tokenizer.decode  # leaves special tokens out
        self._start = tokenizer.special_id("<|transcribe|>")
        self._forget(0)

    def _forget(self, begin: int) -> None:
        self._begin = begin
        self._ids: list[int] = []
        self._counts = [0] * begin
        # Behind each token: where the surroundings of a new one begin, up to where the text is known, its
        # length, and how much of that is the space it begins with.
        self._marks = [(begin, begin, 0, 0)] * (begin + 1)

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """Return how many characters are there after each token."""
        row = list(ids)
        begin = len(row) - row[::-1].index(self._start) if self._start in row else 0
        if begin != self._begin:
            self._forget(begin)
        known = max(_num_equal(row, self._ids), begin)
        self._ids = row
        del self._counts[known:], self._marks[known + 1 :]
        for end in range(known + 1, len(row) + 1):
            self._marks.append(self._behind(end))
            _, _, length, space = self._marks[-1]
            self._counts.append(length - space)
        return list(self._counts)

    def _behind(self, end: int) -> tuple[int, int, int, int]:
        shown, read, length, space = self._marks[-1]
        before, now = self._decode(self._ids[shown:read]), self._decode(self._ids[shown:end])
        if len(now) <= len(before) or now.endswith(INCOMPLETE):
            return self._marks[-1]
        new = now[len(before) :]
        if space == length:
            space += len(new) - len(new.lstrip())
        return read, end, length + len(new), space


def _num_equal(row: list[int], other: list[int]) -> int:
    if row[: len(other)] == other:  # it has grown
        return len(other)
    pairs = enumerate(zip(row, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(row), len(other)))


class Progress:
    """How far a batch has come, as its injection counts it: in units, or in characters where it says so.

    Rows of a later call that go on where those of the last one ended, in the same order, cost only what is
    new.
    """

    def __init__(self, injection: Injection, tokenizer: LLMTokenizer):
        self._in_characters = bool(getattr(injection, "counts_characters", False))
        self._tokenizer = tokenizer
        self._counts: list[CharacterCount] = []

    def __call__(self, ids: Sequence[Sequence[int]] | Tensor, char_ends: Tensor, unit_lens: Tensor) -> Tensor:
        """Return it for each position (B, L); shorter rows stay where they end. Arguments of `unit_index`."""
        ids = ids.tolist() if isinstance(ids, Tensor) else ids
        self._counts += [CharacterCount(self._tokenizer) for _ in range(len(ids) - len(self._counts))]
        counts = [count(row) for count, row in zip(self._counts, ids, strict=False)]
        longest = max(map(len, counts), default=0)
        padded = [row + row[-1:] * (longest - len(row)) for row in counts]
        written = _matrix(padded, char_ends.device)
        return written if self._in_characters else units_written(written, char_ends, unit_lens)
