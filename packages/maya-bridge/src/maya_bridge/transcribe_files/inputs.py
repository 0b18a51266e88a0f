"""What stands on the command line, files, folders, patterns and `-`, to a list of sources."""

import glob
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

STDIN = "-"
AUDIO_NAME = re.compile(
    r".+\.(wav|flac|mp3|ogg|oga|opus|m4a|m4b|aac|mp4|mka|mkv|mov|webm|wma|amr|3gp|aiff?|au|caf|w64|rf64|sph)",
    re.IGNORECASE | re.DOTALL,  # a name may hold a line end
)
"""Names of files that are taken from a folder; a file that is named itself is always tried."""


@dataclass(frozen=True)
class Source:
    """One file to transcribe."""

    path: Path
    """Where it is read."""
    name: str
    """What the user calls it."""
    place: str
    """Where its transcript belongs in an output folder, still with the suffix of the audio."""
    is_kept: bool = True
    """Whether it will be there when the command is run again; standard input is not."""
    mistake: str | None = None
    """Why there is nothing to read."""


def sources(arguments: Sequence[str], folder: Path, stdin: BinaryIO | None = None) -> list[Source]:
    """Return what the arguments name, in their order; of a folder all audio files below it, sorted by name.

    What names nothing is a source with a mistake, so that the others are transcribed.

    Args:
        arguments: files, folders, patterns (`**` is any depth), or `-` for standard input.
        folder: for the copy of standard input.
        stdin: standard input; None for the process's own.

    Raises:
        ValueError: standard input is asked for twice.
    """
    if arguments.count(STDIN) > 1:
        raise ValueError(f"`-` must be given once, got it {arguments.count(STDIN)} times")
    return [source for argument in arguments for source in _of(argument, folder, stdin)]


def outputs(found: Sequence[Source], folder: Path, suffix: str) -> list[Path]:
    """Return the file for each source's transcript: its name with another suffix, or a further one.

    Raises:
        ValueError: two sources have the same place.
    """
    stems = Counter(str(Path(source.place).with_suffix("")) for source in found)
    paths = [
        folder / (stem if stems[stem := str(Path(source.place).with_suffix(""))] == 1 else source.place)
        for source in found
    ]
    whole = [path.with_name(path.name + suffix) for path in paths]
    first: dict[Path, Source] = {}
    for path, source in zip(whole, found, strict=True):
        if path in first:
            raise ValueError(f"{first[path].name} and {source.name} would both be written to {path}")
        first[path] = source
    return whole


def _of(argument: str, folder: Path, stdin: BinaryIO | None) -> Iterator[Source]:
    if argument == STDIN:
        yield _copied(folder, stdin or sys.stdin.buffer)
        return
    path = Path(argument)
    if path.is_dir():
        found = [(file, str(file.relative_to(path))) for file in _below(path)]
        nothing = f"{argument} holds no audio files"
    elif path.exists() or not glob.has_magic(argument):
        found, nothing = [(path, path.name)], ""
    else:
        matches = sorted(glob.glob(argument, recursive=True))
        found = [(Path(match), Path(match).name) for match in matches if not Path(match).is_dir()]
        nothing = f"no file matches {argument}"
    for file, place in found:
        yield Source(file, str(file), place)
    if not found:
        yield Source(path, argument, path.name, mistake=nothing)


def _below(folder: Path) -> Iterator[Path]:
    """Audio files of a folder and those in it; hidden ones are left out, links to folders not followed."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if AUDIO_NAME.fullmatch(name) and not name.startswith("."):
                yield Path(parent) / name


def _copied(folder: Path, stdin: BinaryIO) -> Source:
    """Standard input as a file, for what reads audio wants to seek in it."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="stdin-", delete=False) as copy:
        shutil.copyfileobj(stdin, copy)
    return Source(Path(copy.name), STDIN, "stdin", is_kept=False)
