"""Paths as NeMo's configs write them: `audio__OP_0..511_CL_.tar`, `audio_{000..511}.tar`, and globs."""

import itertools
import posixpath
import re
from collections.abc import Iterable

from maya_data.audio import files
from maya_data.readers.reading import under

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
GLOB = re.compile(r"[*?]")


def expand(pattern: str) -> list[str]:
    """Return what a pattern stands for: every number of `{0..N}` or `_OP_0..N_CL_`, every word of `{a,b}`.

    A first number with leading zeros keeps its width. Braces that hold neither are taken as they are.
    """
    parts = BRACES.split(pattern.replace("_OP_", "{").replace("_CL_", "}"))
    choices = [_choices(part) if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inside: str) -> list[str]:
    if match := RANGE.fullmatch(inside):
        first, last = int(match[1]), int(match[2])
        width = len(match[1]) if match[1].startswith("0") else 0
        step = 1 if first <= last else -1
        return [f"{number:0{width}d}" for number in range(first, last + step, step)]
    return inside.split(",") if "," in inside else [f"{{{inside}}}"]


def resolve_paths(root: str, patterns: Iterable[str]) -> list[str]:
    """Return the files that patterns stand for, in their order, relative to the root where they lie below it.

    What is named one by one need not be there; a glob that matches nothing is an error.

    Raises:
        ValueError: A glob matches no file.
    """
    paths: list[str] = []
    for path in itertools.chain.from_iterable(map(expand, patterns)):
        paths += _globbed(root, path) if GLOB.search(path) else [under(root, "", path)]
    return list(dict.fromkeys(paths))


def _globbed(root: str, path: str) -> list[str]:
    folder, pattern = "", path
    if path.startswith("/") or "://" in path:
        folder = path[: GLOB.search(path).start()].rsplit("/", 1)[0]  # type: ignore[union-attr]
        pattern = path[len(folder) + 1 :]
    try:
        names = files.list_files(folder or root, pattern)
    except FileNotFoundError:
        names = []
    if not names:
        raise ValueError(f"no file matches {path}" + ("" if folder else f" under {root}"))
    return [under(root, "", posixpath.join(folder, name)) for name in sorted(names, key=_numbers_as_such)]


def _numbers_as_such(name: str) -> list[tuple[int, str]]:
    """Sort `audio_10.tar` after `audio_9.tar`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
