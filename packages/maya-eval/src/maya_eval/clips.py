"""The sound of the worst utterances, as FLAC files beside a run's JSON lines.

A segment of a shard has no file of its own, so what a report is to play is written while the source is open:
`<name>.clips/` with one file an utterance and `clips.json` (utterance id -> file name).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from maya_eval.audio import UnreadableAudio, write_flac
from maya_eval.edits import word_errors
from maya_eval.hypotheses import Hypothesis
from maya_eval.normalize import profile
from maya_eval.sources import Utterance
from maya_eval.worst import Failing, worst_first

CLIPS = 200
MOST_BYTES = 30_000_000
INDEX = "clips.json"


def clip_folder(hyps: Path) -> Path:
    """Returns the folder of clips that belongs to a JSON lines file."""
    return hyps.with_name(hyps.name.removesuffix(".jsonl") + ".clips")


def read_clips(hyps: Path) -> dict[str, Path]:
    """Returns the clips beside a JSON lines file by utterance id; none where none were written."""
    folder = clip_folder(hyps)
    if not (folder / INDEX).is_file():
        return {}
    names: dict[str, str] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return {utt_id: folder / name for utt_id, name in names.items() if (folder / name).is_file()}


def write_clips(
    hyps: Path, rows: Iterable[Hypothesis], utterances: Sequence[Utterance], limit: int = CLIPS
) -> int:
    """Writes the clips of the worst rows, removes those of others, and returns how many lie there.

    Args:
        hyps: the JSON lines file.
        rows: what it holds.
        utterances: where the sound comes from.
        limit: clips at most; together they stay under 30 MB, a clip that does not fit is left out.
    """
    sources = {item.utt_id: item for item in utterances}
    folder = clip_folder(hyps)
    names: dict[str, str] = {}
    size = 0
    for utt_id in worst_first(_failing(row) for row in rows if row.utt_id in sources):
        if len(names) == limit:
            break
        path = folder / _file_name(utt_id)
        if not (path.is_file() or _write(path, sources[utt_id])):
            continue
        if size + path.stat().st_size > MOST_BYTES:
            path.unlink()
            continue
        size += path.stat().st_size
        names[utt_id] = path.name
    if names or folder.is_dir():
        _tidy(folder, names)
    return len(names)


def _failing(row: Hypothesis) -> Failing:
    try:
        normalize = profile("indic-strict-v1")
        ref, hyp = normalize(row.text, row.lang), normalize(row.pred_text, row.lang)
    except ValueError:  # a language that the profile does not know: good enough to choose by
        ref, hyp = row.text, row.pred_text
    words = word_errors(ref, hyp)
    return Failing(row.utt_id, row.lang, words.errors, words.ref)


def _file_name(utt_id: str) -> str:
    name = re.sub(r"\.(flac|wav|mp3|m4a|ogg|opus)$", "", utt_id)
    readable = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._")[-60:]
    return f"{readable}-{hashlib.sha256(utt_id.encode()).hexdigest()[:8]}.flac"


def _write(path: Path, utterance: Utterance) -> bool:
    try:
        samples = utterance.read()
    except UnreadableAudio:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flac(path, samples)
    return True


def _tidy(folder: Path, names: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / (INDEX + ".part")
    unfinished.write_text(json.dumps(names, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    unfinished.replace(folder / INDEX)
    kept = {*names.values(), INDEX}
    for path in folder.iterdir():
        if path.name not in kept and path.suffix in (".flac", ".part"):
            path.unlink()
