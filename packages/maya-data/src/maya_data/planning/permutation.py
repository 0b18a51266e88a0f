"""Permutations of any range that are computed, not stored: a Feistel network with cycle walking, in numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]
ROUNDS = 6
CHUNK = 8192
"""Positions permuted at once: the working arrays stay in the processor's cache."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
ROUND_STEP = np.uint64(1 << 48)


def hash64(values: npt.ArrayLike) -> Numbers:
    """Return the SplitMix64 hash of unsigned 64-bit numbers, elementwise."""
    given = np.asarray(values, np.uint64)
    mixed = given.reshape(-1) + GOLDEN
    _mix(mixed, np.empty_like(mixed))
    return mixed.reshape(given.shape)


def key(*parts: Any) -> Numbers:
    """Return one 64-bit key from whole numbers or arrays of them; arrays give an array of keys."""
    mixed = np.zeros((), np.uint64)
    for part in parts:
        mixed = hash64(mixed ^ hash64(np.asarray(part).astype(np.uint64)))
    return mixed


def permute(positions: npt.ArrayLike, size: npt.ArrayLike, keys: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return where `positions` land in the permutation of `range(size)` that `keys` chooses.

    All three may be arrays of one shape: then each element has its own range and its own permutation.
    """
    given = [np.asarray(a).astype(np.uint64) for a in (positions, size, keys)]
    shape = np.broadcast_shapes(*(a.shape for a in given), (1,))
    arrays = [a.reshape(1) if a.size == 1 else np.broadcast_to(a, shape).ravel() for a in given]
    out = np.empty(shape, np.int64)
    flat = out.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        part = slice(start, start + CHUNK)
        flat[part] = _walk(*(a[part] if a.size > 1 else a for a in arrays))
    return out


class Permutations:
    """Many permutations of small ranges, each used again and again.

    `Permutations(size, keys)(which, positions)` is `permute(positions, size[which], keys[which])`. What a
    round adds depends on a digit below the root of the range, so tables of it are small and made quickly.
    """

    def __init__(self, size: npt.ArrayLike, keys: npt.ArrayLike):
        """Tabulate what each round adds; `size` and `keys` are arrays (P,)."""
        self._size, salt = np.array(size, np.uint64), np.array(keys, np.uint64)
        self._half = _half(self._size)
        lengths = self._half.astype(np.int64)
        self._first = (np.cumsum(lengths) - lengths).astype(np.uint64)
        half, salt = np.repeat(self._half, lengths), np.repeat(salt - self._first, lengths)
        salt += np.arange(len(salt), dtype=np.uint64)
        self._added = [
            (hash64(salt + np.uint64(number) * ROUND_STEP) % half).astype(np.uint32)
            for number in range(ROUNDS)
        ]

    def __call__(self, which: npt.NDArray[np.int64], positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return where `positions` land in the permutations numbered `which` (M,)."""
        out = np.array(positions, np.uint64)
        for start in range(0, len(out), CHUNK):
            part = slice(start, start + CHUNK)
            numbers = which[part]
            half, first, size = self._half[numbers], self._first[numbers], self._size[numbers]
            self._rounds(out[part], half, first)
            outside = np.flatnonzero(out[part] >= size)
            while len(outside):
                again = out[part][outside]
                self._rounds(again, half[outside], first[outside])
                out[part][outside] = again
                outside = outside[again >= size[outside]]
        return out.view(np.int64)

    def _rounds(self, values: Numbers, half: Numbers, first: Numbers) -> None:
        """Permute in place, as `_feistel` does."""
        left = (values.view(np.int64) / half.view(np.int64)).astype(np.uint64)  # exact below 2 ** 52
        right, place, spare = values - left * half, np.empty_like(first), np.empty_like(first)
        for added in self._added:
            np.add(first, right, out=place)
            moved = added.take(place.view(np.int64)) + left
            np.subtract(moved, half, out=spare)
            np.minimum(moved, spare, out=moved)
            left, right = right, moved
        np.multiply(left, half, out=values)
        values += right


def _half(size: Numbers) -> Numbers:
    """Return the side of the smallest square that holds a range."""
    half = np.ceil(np.sqrt(size.view(np.int64).astype(np.float64))).astype(np.uint64)
    half += half * half < size
    return half


def _walk(positions: Numbers, size: Numbers, keys: Numbers) -> Numbers:
    """Permute a square that is a little larger than the range, again for what falls outside of the range."""
    half = _half(size)
    out = _feistel(positions, half, keys)
    outside = np.flatnonzero(out >= size)
    if len(outside):
        size, half, keys = (np.broadcast_to(a, out.shape) for a in (size, half, keys))
    while len(outside):
        out[outside] = _feistel(out[outside], half[outside], keys[outside])
        outside = outside[out[outside] >= size[outside]]
    return out


def _feistel(values: Numbers, half: Numbers, keys: Numbers) -> Numbers:
    """Permute `range(half * half)`: the left digit moves by a hash of the right one, then they swap."""
    left = values // half
    right = values - left * half
    moved, spare, salt = np.empty_like(right), np.empty_like(right), keys + GOLDEN
    for _ in range(ROUNDS):
        np.add(salt, right, out=moved)
        _mix(moved, spare)
        moved %= half
        moved += left
        np.subtract(moved, half, out=spare)
        np.minimum(moved, spare, out=moved)  # below `half`: `spare` has wrapped around to a huge number
        left, right, moved = right, moved, left
        salt += ROUND_STEP
    left *= half
    left += right
    return left


def _mix(values: Numbers, spare: Numbers) -> None:
    """Finish the hash of `values`, in place."""
    for shift, factor in zip(SHIFTS[:2], MIX, strict=True):
        np.right_shift(values, shift, out=spare)
        values ^= spare
        values *= factor
    np.right_shift(values, SHIFTS[2], out=spare)
    values ^= spare
