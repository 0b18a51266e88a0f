"""One shard: audio.tar of FLAC files, audio_index.parquet, metadata.parquet and, last, manifest.json."""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr
from numpy.typing import NDArray

from maya_data.synth.corpus import Unit, Utterance
from maya_data.synth.errors import SynthesisError
from maya_data.synth.espeak import espeak

SAMPLING_RATE = 16000
_MIN_DURATION = 0.1  # text that eSpeak cannot say comes back as 0.008 s, not as an error
_PEAK = 0.5
_NOISE = (-4.0, -2.5)  # standard deviation of the white noise, log10 of full scale
_BLOCK = 512  # tar pads every member to this
_INDEX = ("segment_id", "member", "offset", "size")
_METADATA = (
    *("segment_id", "text", "duration", "sampling_rate", "num_samples"),
    *("speaker", "domain", "lang", "corpus", "rate", "pitch"),
)


class Shard(Protocol):
    """What is to be in a shard."""

    @property
    def folder(self) -> str:
        """Its place, relative to the corpus."""

    @property
    def lang(self) -> str:
        """Its language code."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents."""


def is_done(root: Path, shard: Shard) -> bool:
    """Whether the shard is there; one that another plan made is an error."""
    manifest = root / shard.folder / "manifest.json"
    if not manifest.is_file():
        return False
    if json.loads(manifest.read_text()).get("plan") != shard.fingerprint:
        raise SynthesisError(
            f"{manifest.parent} was made with other settings; remove it or choose another folder"
        )
    return True


def write_shard(root: Path, unit: Unit, report: Callable[[], None]) -> None:
    """Make the shard; `report` is called after each clip."""
    with new_shard(root, unit) as folder:
        rows = _write_tar(folder / "audio.tar", unit, report)
        _write_table(folder / "audio_index.parquet", rows, _INDEX)
        _write_table(folder / "metadata.parquet", rows, _METADATA)
        facts = {"segments": len(rows), "duration": round(sum(row["duration"] for row in rows), 3)}
        write_manifest(folder, unit, facts | {"sampling_rate": SAMPLING_RATE})


@contextlib.contextmanager
def new_shard(root: Path, shard: Shard) -> Iterator[Path]:
    """Give a folder beside the shard's place, which is moved there when the block ends well.

    The folder carries this process's id: workers that outlive a killed run may still be at the same shard.

    Raises:
        SynthesisError: The disk is full.
    """
    final = root / shard.folder
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    with _disk_errors(root):
        _remove_leftovers(final)
        partial.mkdir(parents=True)
        yield partial
        _move(partial, final)


def write_manifest(folder: Path, shard: Shard, facts: Mapping[str, Any]) -> None:
    """Write `manifest.json`, which seals the shard: what is known of it, and a checksum of every file."""
    sums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    manifest = {"lang": shard.lang, **facts, "sha256": sums, "plan": shard.fingerprint}
    with (folder / "manifest.json").open("w") as file:
        json.dump(manifest, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _remove_leftovers(final: Path) -> None:
    """Remove what killed processes left of this shard."""
    for partial in final.parent.glob(f".{final.name}.*.partial"):
        pid = partial.name.split(".")[-2]
        if not pid.isdecimal() or int(pid) == os.getpid() or not _is_alive(int(pid)):
            shutil.rmtree(partial, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _move(partial: Path, final: Path) -> None:
    """Put the shard in its place, unless another process has just done so: the bytes are the same."""
    if final.exists() and not (final / "manifest.json").is_file():  # somebody removed a part of it
        shutil.rmtree(final)
    try:
        partial.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(partial)


def render(utterance: Utterance, lang: str) -> NDArray[np.int16]:
    """The clip (S,): spoken, resampled, brought to one peak, with a little white noise."""
    speaker = espeak()
    spoken = speaker.speak(
        utterance.text, f"{lang}+{utterance.voice}", rate=utterance.rate, pitch=utterance.pitch
    )
    duration, peak = len(spoken) / speaker.sampling_rate, int(np.abs(spoken.astype(np.int32)).max(initial=0))
    if duration < _MIN_DURATION or peak == 0:
        raise SynthesisError(
            f"eSpeak NG gave {duration:.3f} s of sound for {utterance.id} ({utterance.text!r}, voice "
            f"{utterance.voice}), at least {_MIN_DURATION} s expected"
        )
    waveform = soxr.resample(spoken.astype(np.float32), speaker.sampling_rate, SAMPLING_RATE)
    rng = np.random.default_rng(utterance.seed)
    noise = rng.standard_normal(len(waveform), dtype=np.float32) * 10 ** rng.uniform(*_NOISE)
    mixed = waveform * (_PEAK / peak) + noise
    clip: NDArray[np.int16] = np.round(mixed.clip(-1, 1) * 32767).astype(np.int16)
    return clip


def _write_tar(path: Path, unit: Unit, report: Callable[[], None]) -> list[dict[str, Any]]:
    rows = []
    with path.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for utterance in unit.utterances:
            waveform = render(utterance, unit.lang)
            audio = _encode(waveform)
            member = tarfile.TarInfo(f"{utterance.id}.flac")
            member.size = len(audio)
            tar.addfile(member, io.BytesIO(audio))
            offset = file.tell() - -(-len(audio) // _BLOCK) * _BLOCK
            place = {"member": member.name, "offset": offset, "size": len(audio)}
            rows.append(place | _describe(utterance, unit.lang, len(waveform)))
            report()
    return rows


def _describe(utterance: Utterance, lang: str, num_samples: int) -> dict[str, Any]:
    return {
        "segment_id": utterance.id,
        "text": utterance.text,
        "duration": num_samples / SAMPLING_RATE,
        "sampling_rate": SAMPLING_RATE,
        "num_samples": num_samples,
        "speaker": utterance.voice,
        "domain": utterance.domain,
        "lang": lang,
        "corpus": "espeak",
        "rate": utterance.rate,
        "pitch": utterance.pitch,
    }


def _encode(waveform: NDArray[np.int16]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _write_table(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    pq.write_table(pa.table({column: [row[column] for row in rows] for column in columns}), path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SynthesisError(
            f"the disk of {root} is full; finished shards are kept, make room and run again"
        ) from None
