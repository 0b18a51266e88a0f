"""The files of an index folder, and the sentences for what can be wrong with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 2

Column = npt.NDArray[Any]
Roots = str | Path | Mapping[str, str | Path]


def find_roots(info: dict[str, Any], path: Path, root: Roots | None) -> list[str]:
    """Return where the audio of each source is.

    Raises:
        ValueError: `root` does not fit the sources.
    """
    names = [source["name"] for source in info["sources"]]
    if root is None:
        return [source["root"] for source in info["sources"]]
    if not isinstance(root, Mapping):
        if len(names) > 1:
            raise ValueError(
                f"`root` must map the names of the sources of {path} ({', '.join(names)}), got {root}"
            )
        return [str(root) for _ in names]
    if unknown := [name for name in root if name not in names]:
        raise ValueError(f"`root` names the source {unknown[0]!r}; {path} has: {', '.join(names)}")
    return [str(root.get(source["name"], source["root"])) for source in info["sources"]]


def read_info(path: Path) -> dict[str, Any]:
    """Return index.json of the folder `path`.

    Raises:
        ValueError: There is none, or it is of another schema.
    """
    file = path / "index.json"
    if not file.is_file():
        raise ValueError(
            f"{path} is no segment index (it has no index.json); make one with `maya-data index`"
        )
    try:
        info: dict[str, Any] = json.loads(file.read_text("utf-8"))
        schema = info["schema"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is no JSON of a segment index; run `maya-data index` again") from error
    if schema != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has index schema {schema}, this version reads {SCHEMA_VERSION}; "
            "run `maya-data index` again"
        )
    return info


def load_column(path: Path, name: str, rows: int) -> Column:
    """Return the column `name` of the index in the folder `path`, memory-mapped.

    Raises:
        ValueError: The file is missing or damaged.
    """
    file = path / f"{name}.npy"
    try:
        # A plain view of the memory map: numpy's own class takes several times as long for one element.
        column: Column = np.load(file, mmap_mode="r" if rows else None).view(np.ndarray)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{file} cannot be read ({error}); run `maya-data index` again") from error
    if len(column) != rows:
        raise ValueError(
            f"{file} has {len(column)} rows, index.json says {rows}; run `maya-data index` again"
        )
    return column
