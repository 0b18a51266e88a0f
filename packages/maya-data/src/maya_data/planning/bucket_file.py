"""Tables of buckets as JSON: `maya-data bins` writes one, a calibration on the GPU fills in batch sizes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from maya_data.planning.bins import Buckets


def read_buckets(path: str | Path) -> Buckets:
    """Return the buckets of a file with `{"buckets": [{"max_duration", "batch_size", "max_tokens"?}, ...]}`.

    Raises:
        ValueError: The file is no such table; the message says what is wrong with it.
    """
    try:
        rows = json.loads(Path(path).read_text("utf-8"))["buckets"]
        table = [_row(row) for row in rows]
    except FileNotFoundError as error:
        raise ValueError(f"`buckets_file` {path} is missing; `maya-data bins --json` writes one") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"`buckets_file` {path} must hold buckets with max_duration, batch_size and, if they are cut by "
            f"tokens, max_tokens; it does not: {error!r}"
        ) from error
    return _buckets(path, table)


def _row(row: dict[str, Any]) -> tuple[float, int | None, int]:
    duration, tokens, size = float(row["max_duration"]), row.get("max_tokens"), int(row["batch_size"])
    if not (duration > 0 and size > 0 and np.isfinite(duration)):
        raise ValueError(f"max_duration and batch_size must be above 0, got {duration} and {size}")
    return duration, None if tokens is None else int(tokens), size


def _buckets(path: str | Path, table: list[tuple[float, int | None, int]]) -> Buckets:
    """Return the buckets; where a duration has fewer of them than another, its last one is repeated."""
    edges = sorted({duration for duration, _, _ in table})
    if not edges:
        raise ValueError(f"`buckets_file` {path} holds no buckets")
    by_tokens = any(tokens is not None for _, tokens, _ in table)
    cut = [sorted((tokens or 0, size) for other, tokens, size in table if other == edge) for edge in edges]
    lacking = any(tokens is None for _, tokens, _ in table)
    if lacking if by_tokens else len(table) > len(edges):
        raise ValueError(f"`buckets_file` {path} must give max_tokens to all buckets or none, and each once")
    width = max(map(len, cut))
    padded = np.array([row + row[-1:] * (width - len(row)) for row in cut], np.int64)  # (D, S, 2)
    return Buckets(
        np.array(edges), np.arange(len(edges)), padded[..., 1].ravel(), padded[..., 0] if by_tokens else None
    )
