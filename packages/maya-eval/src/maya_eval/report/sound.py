"""The sound of utterances on the page: the worst embedded up to a size, others linked by their file."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from maya_eval.hypotheses import Hypothesis
from maya_eval.report.markup import tag
from maya_eval.report.rows import Utterances
from maya_eval.worst import worst_first

MOST_EMBEDDED = 200
MOST_BYTES = 30_000_000
"""Of embedded sound, as it stands in the page (base64)."""
TYPES = {
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".webm": "audio/webm",
}


@dataclass
class Sound:
    """What a page can play."""

    of: dict[str, str] = field(default_factory=dict)
    """Utterance id -> "#3" for the third embedded clip, or the address of a file."""
    markup: str = ""
    """The embedded clips, inert until one is played."""
    embedded: int = 0


def choose_sound(
    utterances: Utterances,
    files: Mapping[str, Path],
    *,
    most: int = MOST_EMBEDDED,
    folder: Path | None = None,
) -> Sound:
    """Returns the worst utterances' sound embedded, and the addresses of the other files.

    Args:
        utterances: those of the page.
        files: sound files by utterance id; one that does not exist is left out.
        most: clips to embed at most.
        folder: of the page; without it no file is linked, for nobody knows where the page will lie.
    """
    sound = Sound()
    present = {utt_id: path for utt_id, path in files.items() if path.is_file()}
    size = 0
    for utt_id in worst_first(utterances.failing()):
        if sound.embedded == most:
            break
        path = present.get(utt_id)
        if path is None or path.suffix.lower() not in TYPES:
            continue
        length = -(-path.stat().st_size // 3) * 4
        if size + length > MOST_BYTES:
            continue
        size += length
        sound.of[utt_id] = f"#{sound.embedded}"
        sound.markup += _clip(sound.embedded, path)
        sound.embedded += 1
    if folder is not None:
        for utt_id, path in present.items():
            sound.of.setdefault(utt_id, quote(os.path.relpath(path, folder)))
    return sound


def sound_files(rows: Mapping[str, list[Hypothesis]], beside: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the files that the lines name in `audio_filepath`.

    Args:
        rows: hypotheses by system.
        beside: the JSON lines file of each system; relative addresses are looked up beside it.
    """
    found: dict[str, Path] = {}
    for system, hypotheses in rows.items():
        home = beside[system].parent
        for row in hypotheses:
            name = row.extra.get("audio_filepath")
            if isinstance(name, str) and row.utt_id not in found:
                found[row.utt_id] = home / name if (home / name).exists() else Path(name)
    return found


def _clip(number: int, path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    kind = TYPES[path.suffix.lower()]
    return tag("script", content, type="text/plain", id=f"clip-{number}", data_type=kind)
