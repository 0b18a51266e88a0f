"""The folder of an export: it appears whole or not at all, and replaces nothing but an export of ours."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from maya_train.errors import ConfigError

MANIFEST = "maya_export.json"
MADE_BY = "maya-train export"


@contextmanager
def export_folder(folder: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """A place that does not exist yet, to be made a folder and filled; it becomes `folder` at the end.

    Raises:
        ConfigError: `folder` holds something that is no export, or that was changed since.
    """
    refuse_foreign(folder)
    parent_was_there = folder.parent.exists()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    try:
        yield unfinished
        _write_manifest(unfinished, facts)
        refuse_foreign(folder)  # writing takes minutes, in which someone may have put something there
        _put_in_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not parent_was_there and not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder with anything in it that an export of ours did not write.

    Raises:
        ConfigError: names the folder and the first such thing.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; name a folder with --out")
    found = _files(folder)
    if not any(folder.iterdir()):
        return
    known = _read_manifest(folder)
    if known is None:
        raise ConfigError(
            f"{folder} is not empty and no export of ours (it has no {MANIFEST}), so nothing is written"
            " there; name another folder with --out"
        )
    for name in found:
        if name != MANIFEST and known.get(name) != _digest(folder / name):
            what = "was changed since it was exported" if name in known else "is none of the export's files"
            raise ConfigError(
                f"{folder} is not replaced: {name} {what}; move it away, or name another folder with --out"
            )


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _read_manifest(folder: Path) -> dict[str, str] | None:
    """Digests by name, or None where no export of ours was written."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        ours = content["made_by"] == MADE_BY
        return {str(name): str(value) for name, value in content["files"].items()} if ours else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    files = {name: _digest(folder / name) for name in _files(folder)}
    text = json.dumps({"made_by": MADE_BY, **facts, "files": files}, ensure_ascii=False, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_in_place(unfinished: Path, folder: Path) -> None:
    if not folder.exists():
        os.replace(unfinished, folder)
        return
    old = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    os.replace(folder, old)
    try:
        os.replace(unfinished, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old)
