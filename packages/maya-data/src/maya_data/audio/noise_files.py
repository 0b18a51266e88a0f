"""A folder of audio decoded once into one memory-mapped file, which all processes share."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from maya_data.audio import files
from maya_data.audio.decode import CorruptAudio, Samples, decode, resample

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif")
VERSION = 1
"""Part of the key of a decoded folder; another layout needs another number."""


class NoiseFiles:
    """Recordings one after the other in one file of 16-bit samples."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.info: dict[str, Any] = json.loads((folder / "noise.json").read_text("utf-8"))
        self.fingerprint: str = self.info["fingerprint"]
        self.ends = np.cumsum(self.info["lengths"])
        self.samples: Samples = np.memmap(folder / "noise.int16", np.int16, "r")

    def __reduce__(self) -> tuple[Any, ...]:
        return NoiseFiles, (self.folder,)

    def cut(self, place: float, length: int) -> Samples:
        """Return `length` samples of one recording; `place` in [0, 1) says where, over all recordings.

        A recording that ends before is taken again from its beginning.
        """
        first = int(place * int(self.ends[-1]))
        number = int(np.searchsorted(self.ends, first, side="right"))
        end, size = int(self.ends[number]), int(self.info["lengths"][number])
        piece = self.samples[first : min(end, first + length)]
        if len(piece) == length:
            return piece
        whole = self.samples[end - size : end]
        again = -(-(length - len(piece)) // size)
        return np.concatenate([piece, *[whole] * again])[:length]


def decode_folder(root: str, pattern: str, cache: str | None, sampling_rate: int) -> NoiseFiles:
    """Return the decoded audio under `root`; the first process that asks decodes it, others wait for it.

    A file that cannot be decoded is left out with a warning.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: No file there can be decoded.
    """
    names = [name for name in files.list_files(root, pattern) if name.lower().endswith(SUFFIXES)]
    if not names:
        raise ValueError(f"{root} has no audio file that matches {pattern!r} ({', '.join(SUFFIXES)})")
    stamps = [[name, files.stamp(files.join(root, name))] for name in names]
    told = json.dumps([VERSION, sampling_rate, stamps]).encode()
    fingerprint = hashlib.sha256(told).hexdigest()[:16]
    target = Path(cache or _cache_folder()) / f"noise-{fingerprint}"
    if not (target / "noise.json").is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target.with_suffix(".lock")):
            if not (target / "noise.json").is_file():
                _decode_all(root, names, target, sampling_rate)
    return NoiseFiles(target)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maya-data"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is in here; a process that dies leaves at once."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _decode_all(root: str, names: list[str], target: Path, sampling_rate: int) -> None:
    """Write the folder `target` beside its final place, and move it there when it is whole."""
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        lengths: dict[str, int] = {}
        digest = hashlib.sha256()
        with open(unfinished / "noise.int16", "wb") as out:
            for name in names:
                samples = _decode_file(files.join(root, name), sampling_rate)
                if len(samples):
                    lengths[name] = len(samples)
                    digest.update(samples.data)
                    out.write(samples.data)
        if not lengths:
            raise ValueError(f"none of the {len(names)} audio files under {root} can be decoded")
        info = {"fingerprint": digest.hexdigest()[:16], "sampling_rate": sampling_rate}
        info |= {"names": list(lengths), "lengths": list(lengths.values())}
        (unfinished / "noise.json").write_text(json.dumps(info), "utf-8")
        os.replace(unfinished, target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _decode_file(path: str, sampling_rate: int) -> Samples:
    try:
        samples, rate = decode(files.read_bytes(path))
    except CorruptAudio as error:
        warnings.warn(f"noise file {path} is left out: it {error}", stacklevel=4)
        return np.zeros(0, np.int16)
    return np.ascontiguousarray(resample(samples, rate, sampling_rate))
