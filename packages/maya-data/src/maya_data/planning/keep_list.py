"""A list of the segments that alone are trained on: a Parquet file with the column `row`, of one index.

What chose them may add columns of its own. Which segments they are, and not what else the file holds, decides
what a plan gives out.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

FINGERPRINT = b"fingerprint"
ROW = "row"

Ints = npt.NDArray[np.int64]


def write_keep_list(
    path: str | Path,
    index: Any,
    rows: Ints,
    columns: Mapping[str, npt.NDArray[Any]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a list, whole or not at all.

    Args:
        path: The file.
        index: The SegmentIndex that the rows are of.
        rows: Segment numbers (M,), rising.
        columns: Further columns (M,), for whoever looks.
        notes: What it comes from; kept as the file's metadata.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({ROW: np.asarray(rows, np.int64), **(columns or {})})
    metadata = {**(notes or {}), FINGERPRINT.decode(): index.fingerprint}
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        pq.write_table(table.replace_schema_metadata(metadata), part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def keep_rows(path: str | Path, index: Any = None) -> Ints:
    """Return the segment numbers (M,) of a list, rising.

    Args:
        path: The file.
        index: The SegmentIndex that it must be of; None is not checked.

    Raises:
        ValueError: There is no such file, it is no list, or it is of another index.
    """
    try:
        with pq.ParquetFile(path) as file:
            made_for = (file.schema_arrow.metadata or {}).get(FINGERPRINT, b"").decode()
            rows = file.read(columns=[ROW])[ROW].to_numpy()
    except FileNotFoundError:
        raise ValueError(f"`keep` names {path}, which is not there") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`keep` names {path}, which is no list of segments: {reason}") from error
    if index is not None and made_for != index.fingerprint:
        raise ValueError(f"`keep` names {path}, which was made for another index; make it again for this one")
    return np.sort(rows.astype(np.int64))


def keep_digest(path: str | Path) -> str:
    """Return a digest of which segments a list holds."""
    return hashlib.sha256(keep_rows(path).tobytes()).hexdigest()


def keep_notes(path: str | Path) -> dict[str, str]:
    """Return what a list comes from; nothing where there is no list that can be read."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return {}
    return {key.decode(): value.decode() for key, value in metadata.items()}
