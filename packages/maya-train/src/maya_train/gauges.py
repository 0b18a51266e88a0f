"""What is worth seeing of a step besides its losses: padding, memory, MFU, and losses by language."""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from maya_train.hardware import peak_of
from maya_train.schema import RunConfig
from maya_train.tasks import Work

BY_LANG = "by_lang"
"""Counts of this name, a head and a language (`by_lang/ctc/hi`), are sums of a loss over the utterances of
that language; `by_lang/tokens/hi` is the number of their tokens."""
STATM = Path("/proc/self/statm")
GIB = 2.0**30


class Gauges:
    """Reads them off the first process; nothing here waits for the device."""

    def __init__(self, fabric: Fabric, cfg: RunConfig) -> None:
        self._device = fabric.device
        name = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else ""
        self._peak = peak_of(fabric.device.type, cfg.precision or "32-true", name)
        self._flops = flop_counter(cfg) if self._peak and fabric.is_global_zero else None

    def read(self, works: Iterable[Work], record: dict[str, Any]) -> None:
        """Add to the record of a step, whose `time` holds the seconds of `step` and `data`."""
        works = list(works)
        by_lang(record)
        gauges = {"padding": round(padding(works), 4), "memory_gib": round(memory_in_use(self._device), 3)}
        seconds = record["time"]["step"] + record["time"]["data"]
        if self._flops is not None and self._peak is not None and seconds:
            done = sum(self._flops(work) for work in works)
            gauges["mfu"] = round(done / seconds / self._peak, 4)
        record["time"] |= gauges


def by_lang(record: dict[str, Any]) -> None:
    """Turn the sums by language into losses by token: `{"by_lang": {"ctc": {"hi": 1.2}}}`."""
    sums: dict[str, dict[str, float]] = {}
    for key in [key for key in record if key.startswith(f"{BY_LANG}/")]:
        _, head, lang = key.split("/")
        sums.setdefault(head, {})[lang] = record.pop(key)
    tokens = sums.pop("tokens", {})
    if sums:
        record[BY_LANG] = {
            head: {lang: value / tokens[lang] for lang, value in values.items() if tokens.get(lang)}
            for head, values in sums.items()
        }


def padding(works: Iterable[Work]) -> float:
    """The share of the batches that is behind the end of an utterance."""
    real = held = 0.0
    for work in works:
        durations = work.batch.durations
        real += sum(durations)
        held += max(durations, default=0.0) * len(durations)
    return 1 - real / held if held else 0.0


def memory_in_use(device: torch.device) -> float:
    """GiB: the most that the GPU's allocator has held, or what this process holds."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved(device)) / GIB
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / GIB
    return 0.0


def flop_counter(cfg: RunConfig) -> Callable[[Work], float] | None:
    """Operations of one batch, or None for a model that cannot be counted: then there is no MFU."""
    from maya_train.flops import FlopCounter

    with contextlib.suppress(Exception):  # plugins of others may build in ways that counting does not know
        counter = FlopCounter.of(cfg)
        return lambda work: counter.step(work.batch.durations, work.num_tokens)
    return None


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a record by path: `loss`, `lr/encoder`, `by_lang/ctc/hi`."""
    found: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found
