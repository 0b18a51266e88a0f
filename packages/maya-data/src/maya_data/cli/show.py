"""`maya-data show`: one row of an index, and its audio."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maya_data.cli.command import command


def add(commands: Any) -> None:
    """Add `maya-data show`."""
    parser = command(commands, "show", show)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("id", help="id of the segment, or #N for row N")
    parser.add_argument("--wav", metavar="FILE", help="write its audio as a WAV file, at its own rate")
    parser.add_argument(
        "--root",
        nargs="+",
        default=[],
        metavar="DIR",
        help="where the audio is now; SOURCE=DIR for several sources",
    )


def show(arguments: argparse.Namespace) -> None:
    """Print a row of an index, and write its audio where --wav says."""
    from maya_data.indexing.segments import open_index
    from maya_data.verify.run import root_mapping

    index = open_index(arguments.index, root_mapping(arguments.root))
    row = _row(index, arguments.id)
    facts = {"row": row} | asdict(index.row(row))
    facts |= {"as trained": _trained(index, row), "location": index.location(row)}
    for name, value in facts.items():
        print(f"{name:<14}{_shown(name, value)}".rstrip())
    if arguments.wav:
        _write_wav(index, row, Path(arguments.wav))


def _row(index: Any, name: str) -> int:
    """Return the row of an id; `#12` is row 12 where no segment is called so."""
    try:
        return int(index.find(name))
    except LookupError:
        number = name.removeprefix("#")
        if number != name and number.isdecimal() and int(number) < len(index):
            return int(number)
        raise


def _shown(name: str, value: Any) -> str:
    from maya_data.indexing.flags import MEANINGS

    if name == "flags" and value:
        return f"{value} ({'; '.join(meaning for bit, meaning in MEANINGS.items() if value & bit)})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _trained(index: Any, row: int) -> str:
    from maya_data.text import profile

    return profile(index.text_profile).normalize(index.string("text", row), index.name("lang", row))


def _write_wav(index: Any, row: int, path: Path) -> None:
    import soundfile

    from maya_data.audio.fetch import read_audio

    samples = read_audio(index, row)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, index.row(row).sampling_rate, subtype="PCM_16", format="WAV")
    print(path)
