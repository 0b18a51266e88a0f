"""The random streams of one process: seeded by rank, saved, put back, and shielded where need be."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_rank(seed: int, rank: int) -> None:
    """Streams for noise and dropout that differ between ranks; the weights were made with one common seed."""
    child = int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint32)[0])
    random.seed(child)
    np.random.seed(child)
    torch.manual_seed(child)


def random_state() -> dict[str, Any]:
    """All streams as tensors and plain Python values, which `torch.load` takes with `weights_only`."""
    version, words, gauss = random.getstate()
    numpy: tuple[Any, ...] = np.random.get_state(legacy=True)  # type: ignore[assignment]
    name, keys, position, has_gauss, cached = numpy
    return {
        "python": [version, list(words), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(keys.astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put the streams back where `random_state` found them."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Whatever the block draws (a loader's seed, a validation), training's streams stay where they were."""
    python, numpy, torch_cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
