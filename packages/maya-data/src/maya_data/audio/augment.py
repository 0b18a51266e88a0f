"""Noise under speech: a pool of recordings decoded once, and a choice from it that follows from a key.

The key of a segment is `planning.permutation.key(seed, epoch, position, id)`: neither workers nor restarts
change what is heard. Speed is part of the plan, since it changes the length; `audio.fetch` applies it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maya_data.audio.decode import Samples, to_int16
from maya_data.audio.noise_files import NoiseFiles, decode_folder
from maya_data.planning.permutation import hash64

FRAME = 320
"""Samples (20 ms at 16 kHz) over which loudness is measured."""
QUIET = 1e-3
"""A frame with less than this share of the energy of the loudest one (30 dB below it) is a pause."""

Floats = npt.NDArray[np.float32]


@dataclass(kw_only=True)
class NoiseConfig:
    """Which noise is mixed in, how loud and how often."""

    root: str = ""
    """Folder of audio files, in any layout (MUSAN's: `music`, `noise` and `speech`)."""
    pattern: str = "**/*"
    """Glob of the files below `root`; `noise/**/*` takes one folder of MUSAN."""
    snr: tuple[float, float] = (5.0, 20.0)
    """Lowest and highest ratio of the energy of the speech to that of the noise, in dB."""
    prob: float = 0.5
    """Share of segments that get noise, 0 to 1."""
    cache: str | None = None
    """Folder of the decoded noise (115 MB an hour at 16 kHz); null takes the user's cache folder."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        self.snr = (float(self.snr[0]), float(self.snr[-1]))
        if not -100 <= self.snr[0] <= self.snr[1] <= 100:
            raise ValueError(f"`snr` must be a lowest and a highest ratio in dB, got {list(self.snr)}")
        if not 0 <= self.prob <= 1:
            raise ValueError(f"`prob` must be from 0 to 1, got {self.prob}")

    def open(self, sampling_rate: int = 16000) -> "NoisePool":
        """Return the pool, decoded now if it was not before.

        Raises:
            FileNotFoundError: There is no folder `root`.
            ValueError: No folder is named, or no file in it can be decoded.
        """
        if not self.root:
            raise ValueError("noise needs a folder of audio files; set `root`")
        files = decode_folder(self.root, self.pattern, self.cache, sampling_rate)
        return NoisePool(files, self.snr, self.prob)


@dataclass(kw_only=True)
class AugmentConfig:
    """What is done to the audio of training, apart from speed, which is the plan's."""

    noise: NoiseConfig | None = None
    """Noise to mix in; null mixes none."""


class NoisePool:
    """Decoded noise, and how to mix it."""

    def __init__(self, files: NoiseFiles, snr: tuple[float, float] = (5.0, 20.0), prob: float = 1.0):
        self.files, self.snr, self.prob = files, snr, prob

    @classmethod
    def open(cls, folder: str, cache_dir: str | None = None, sampling_rate: int = 16000) -> "NoisePool":
        """Return a pool that mixes noise into every segment; see `NoiseConfig.open` for errors."""
        return NoiseConfig(root=str(folder), cache=cache_dir and str(cache_dir), prob=1.0).open(sampling_rate)

    @property
    def fingerprint(self) -> str:
        """Short text that changes with the noise."""
        return self.files.fingerprint

    def mix(self, samples: Samples, key: int) -> Samples:
        """Return speech (S,) with noise under it, or as it is; every choice follows from `key`.

        Where the sum is louder than 16 bits hold, both are made softer by the same factor.
        """
        chance, level, place = (float(x) for x in _uniform(key, 3))
        if chance >= self.prob or not samples.size:
            return samples
        speech = samples.astype(np.float32)
        noise = self.files.cut(place, len(samples)).astype(np.float32)
        wanted = speech_power(speech) / 10 ** ((self.snr[0] + level * (self.snr[1] - self.snr[0])) / 10)
        there = float(np.dot(noise, noise)) / len(noise)
        if not (wanted and there):
            return samples
        mixed = speech + noise * np.float32(np.sqrt(wanted / there))
        peak = float(np.abs(mixed).max())
        return to_int16(mixed * np.float32(32767 / peak) if peak > 32767 else mixed)

    __call__ = mix


def speech_power(speech: Floats) -> float:
    """Return the mean square of speech (S,) without its pauses, so that silence around it changes nothing."""
    frames = np.pad(speech, (0, -len(speech) % FRAME)).reshape(-1, FRAME)
    energies = np.einsum("nf,nf->n", frames, frames)
    spoken = energies > QUIET * energies.max()
    length = min(int(spoken.sum()) * FRAME, len(speech))
    return float(energies[spoken].sum()) / length if length else 0.0


def _uniform(key: int, count: int) -> npt.NDArray[np.float64]:
    """Return numbers (count,) in [0, 1) that follow from a key."""
    with np.errstate(over="ignore"):
        keys = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64)
    return (hash64(hash64(keys)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
