"""Reading one batch: what crosses to a loader process, what is done there, and what comes back.

The reading side keeps no state: what comes back depends on the job and the bytes on the disk alone. Counting
and writing down what is bad is done by the process that asked.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from maya_data.audio.fetch import CorruptAudio, Samples, read_many
from maya_data.indexing.segments import SegmentIndex
from maya_data.loading.batch import Batch, Utterance, collate
from maya_data.text import profile

Read = Callable[..., Samples]
"""`maya_data.audio.fetch.read_audio`, or one like it."""
Noise = Callable[[Samples, int], Samples]
"""Changes samples; all its choices follow from the number."""
TENSORS = ("waveforms", "waveform_lens")


class Job(NamedTuple):
    """The segments of one batch."""

    ids: npt.NDArray[np.int64]
    """Segment numbers (B,)."""
    step: int = 0
    epoch: int = 0
    speeds: npt.NDArray[np.float32] | None = None
    """How much faster each segment is played (B,); None is as it is."""
    keys: npt.NDArray[np.uint64] | None = None
    """What all random choices for each segment follow from (B,); None where there are none."""


@dataclass
class Loaded:
    """What came of a job; it crosses to another process as plain bytes, for shared memory is scarce."""

    batch: Batch | None = None
    """None where no segment could be used."""
    failures: list[tuple[int, str]] = field(default_factory=list)
    """Segments that could not be used, each with the reason."""
    error: OSError | None = None
    """Why the job could not be done at all."""

    def pin_memory(self) -> "Loaded":
        """Return it with its batch in page-locked memory; torch's DataLoader calls this."""
        return replace(self, batch=self.batch.pin_memory()) if self.batch else self

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self).copy()
        if self.batch:
            state["batch"] = vars(self.batch) | {name: getattr(self.batch, name).numpy() for name in TENSORS}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if fields := state["batch"]:
            self.batch = Batch(**fields | {name: torch.from_numpy(fields[name]) for name in TENSORS})


@dataclass
class Reader(Dataset[Loaded]):
    """Job -> batch."""

    index: SegmentIndex
    sampling_rate: int
    text_profile: str
    read: Read
    noise: Noise | None = None
    together: bool = False
    """Read the segments of a batch at once: right for remote files and for neighbours in a shard."""

    def __post_init__(self) -> None:
        """Refuse a text profile that there is not."""
        self.spelling = profile(self.text_profile)

    def __getitem__(self, job: Job) -> Loaded:
        loaded = Loaded()
        try:
            utterances = list(self._utterances(job, loaded.failures))
        except OSError as error:
            return Loaded(error=error)
        if utterances:
            loaded.batch = collate(utterances, self.sampling_rate, job.step, job.epoch)
        return loaded

    def _utterances(self, job: Job, failures: list[tuple[int, str]]) -> Iterator[Utterance]:
        for place, (i, samples) in enumerate(zip(job.ids.tolist(), self._samples(job), strict=True)):
            if isinstance(samples, Exception):
                failures.append((i, str(samples)))
                continue
            if self.noise is not None and job.keys is not None:
                samples = self.noise(samples, int(job.keys[place]))
            lang = self.index.name("lang", i)
            text = self.spelling.normalize(self.index.string("text", i), lang)
            yield Utterance(self.index.string("id", i), samples, text, lang)

    def _samples(self, job: Job) -> Iterable[Samples | Exception]:
        if self.together:
            try:
                return read_many(self.index, job.ids, self.sampling_rate, job.speeds)
            except FileNotFoundError:
                pass  # One by one it is seen which.
        return (self._attempt(job, place, i) for place, i in enumerate(job.ids.tolist()))

    def _attempt(self, job: Job, place: int, i: int) -> Samples | Exception:
        speed = {} if job.speeds is None else {"speed": float(job.speeds[place])}
        try:
            return self.read(self.index, i, self.sampling_rate, **speed)
        except CorruptAudio as error:
            return error
        except FileNotFoundError as error:
            if self._alone(i):
                return error
            raise  # The other segments of the shard are gone with it.

    def _alone(self, i: int) -> bool:
        """Return whether segment `i` is an audio file of its own: no neighbour is in the same one."""
        shards = self.index.columns["shard"]
        near = shards[max(i - 1, 0) : i + 2]
        return int((near == shards[i]).sum()) == 1
