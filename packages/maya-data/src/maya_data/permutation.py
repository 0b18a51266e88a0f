"""Permutations of any range that are computed, not stored: a Feistel network with cycle walking, in numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]
ROUNDS = 6
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def hash64(values: npt.ArrayLike) -> Numbers:
    """Return the SplitMix64 hash of unsigned 64-bit numbers, elementwise."""
    with np.errstate(over="ignore"):
        mixed = np.asarray(values, np.uint64) + GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * MIX[1]
        return mixed ^ (mixed >> np.uint64(31))


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
    positions, size, keys = (
        np.array(a, np.uint64, ndmin=1) for a in np.broadcast_arrays(positions, size, keys)
    )
    half = np.ceil(np.sqrt(size.astype(np.float64))).astype(np.uint64)
    half += half * half < size
    out = _feistel(positions, half, keys)
    outside = np.flatnonzero(out >= size)
    while len(outside):
        out[outside] = _feistel(out[outside], half[outside], keys[outside])
        outside = outside[out[outside] >= size[outside]]
    return out.astype(np.int64)


def _feistel(values: Numbers, half: Numbers, keys: Numbers) -> Numbers:
    """Permute `range(half * half)`: the left digit moves by a hash of the right one, then they swap."""
    left, right = np.divmod(values, half)
    with np.errstate(over="ignore"):
        for number in range(ROUNDS):
            left, right = right, (left + hash64(keys + right + np.uint64(number << 48)) % half) % half
    return left * half + right
