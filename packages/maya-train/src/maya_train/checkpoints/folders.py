"""The folders `step-N` of a stage: which are whole, which is the newest, which are kept."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maya_train.checkpoints.files import Stamp, stamp_of
from maya_train.durable import sync_folder, write_text

COMPLETE = "COMPLETE"
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The content of `COMPLETE`."""

    step: int
    world_size: int
    """Processes that wrote it."""
    score: float | None
    """Of the validation at that step, the lower the better; None: there was none."""
    files: Mapping[str, Stamp]
    """By their paths in the folder."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How many training states stay."""

    last: int
    """The newest."""
    best: int = 0
    """Those with the lowest score, besides."""


def newest_first(root: Path) -> list[Path]:
    """All folders `step-N`, whole or not."""
    found = (path for path in root.glob("step-*") if path.name.removeprefix("step-").isdigit())
    return sorted(found, key=step_of, reverse=True)


def step_of(folder: Path) -> int:
    """The number in `step-N`."""
    return int(folder.name.removeprefix("step-"))


def latest(root: Path) -> Path | None:
    """The newest whole training state under `root`, or None; contents are not read."""
    return next((path for path in newest_first(root) if fault(path) is None), None)


def fault(folder: Path) -> str | None:
    """What is missing in a training state, by its mark and the sizes of its files; None: nothing."""
    try:
        mark = read_mark(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"it has no {COMPLETE} file that can be read"
    for name, stamp in mark.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != stamp.size:
            return f"{name} has {size} bytes of {stamp.size}"
    return None


def damage(folder: Path, share: slice = slice(None)) -> str | None:
    """The first file of a whole training state whose content is not what was written.

    Args:
        folder: one that has no `fault`.
        share: which of its files to read, where several processes look.
    """
    for name, stamp in sorted(read_mark(folder).files.items())[share]:
        try:
            if stamp_of(folder / name) != stamp:
                return f"{name} is damaged"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def read_mark(folder: Path) -> Mark:
    """The mark of a complete folder."""
    content: dict[str, Any] = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        raise ValueError(f"{folder} has format {content['format']}, this version reads {FORMAT}")
    files = {name: Stamp(*stamp) for name, stamp in content["files"].items()}
    return Mark(step=content["step"], world_size=content["world_size"], score=content["score"], files=files)


def seal(part: Path, folder: Path, mark: Mark) -> None:
    """Mark `part` as complete and give it its name."""
    content = {"format": FORMAT, "step": mark.step, "world_size": mark.world_size, "score": mark.score}
    write_text(part / COMPLETE, json.dumps({**content, "files": mark.files}))
    sync_folder(part)
    if folder.exists():  # one that was passed over
        remove(folder)
    os.replace(part, folder)
    sync_folder(folder.parent)


def part_of(folder: Path) -> Path:
    """The name of a training state while it is being written."""
    return folder.with_name(f".{folder.name}.part")


def remove_parts(root: Path) -> None:
    """Clear away what killed runs left half written."""
    for part in root.glob(".step-*.part"):
        shutil.rmtree(part)


def prune(root: Path, keep: Kept) -> None:
    """Remove all but the newest and the best of the whole ones, and what is not whole."""
    folders = newest_first(root)
    whole = [path for path in folders if fault(path) is None]
    stay = {*whole[: keep.last], *best(whole, keep.best)}
    for path in folders:
        if path not in stay:
            remove(path)


def best(folders: Iterable[Path], number: int) -> list[Path]:
    """Those with the lowest scores; of equal ones the newer."""
    marks = [(read_mark(path), path) for path in folders]
    scored = [(mark.score, -mark.step, path) for mark, path in marks if mark.score is not None]
    return [path for _, _, path in sorted(scored)[:number]]


def remove(folder: Path) -> None:
    """Delete a training state; killed in between, it is no candidate any more."""
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder)
