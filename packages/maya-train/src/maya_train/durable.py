"""Small files and whole folders of which nothing is lost when the power fails."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a small file and wait until the disk has it."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_text(path: Path, text: str) -> None:
    """Put a small file in the place of another, which is whole at any moment."""
    part = path.with_suffix(".part")
    write_text(part, text)
    part.replace(path)
    sync_folder(path.parent)


def sync_files(folder: Path) -> None:
    """Wait until the disk has all files below `folder`, and their names."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
