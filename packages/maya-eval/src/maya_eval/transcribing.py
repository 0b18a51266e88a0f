"""A batch of utterances through a transcriber: read, transcribed against the clock, and made into lines.

The real-time factor counts features and decoding, not the reading of files; before the clock starts, an
accelerator has been warmed up, and before it stops, it has finished.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from maya_eval.audio import SAMPLING_RATE, Samples, UnreadableAudio
from maya_eval.hypotheses import Hypothesis
from maya_eval.sources import Utterance


@dataclass(kw_only=True)
class RunReport:
    """What one call did."""

    kept: int = 0
    """Utterances that were in the file already."""
    new: int = 0
    skipped: list[str] = field(default_factory=list)
    """Why an utterance could not be read, one sentence each."""
    audio_seconds: float = 0.0
    work_seconds: float = 0.0
    clips: int = 0
    """Clips that lie beside the file."""
    references: Path | None = None
    """Where the references lie; written when an utterance could not be read."""
    by_another: bool = False
    """Whether another process merged what several had done; this report is then of this process alone."""

    @property
    def rtf_text(self) -> str:
        """Seconds of work (features and decoding, file reading not counted) a second of audio."""
        return f"{self.work_seconds / self.audio_seconds:.3f}" if self.audio_seconds else "-"

    @property
    def rtfx_text(self) -> str:
        """Seconds of audio a second of work: the inverse of the real-time factor."""
        return f"{self.audio_seconds / self.work_seconds:.1f}" if self.work_seconds else "-"


class Worker:
    """Turns batches into lines: reads them, and transcribes them against the clock."""

    def __init__(self, transcriber: Any, device: str, batch_size: int, warmup: int | None = None) -> None:
        """Takes a built transcriber.

        Args:
            transcriber: has `transcribe(audio, langs, batch_size)`.
            device: where it works; an accelerator is waited for before the clock is read.
            batch_size: utterances handed over at once.
            warmup: batches transcribed once more before the clock counts; None: one, on a CPU none.
        """
        self.transcriber, self.device, self.batch_size = transcriber, device, batch_size
        self.warmup = warmup if warmup is not None else int(not device.startswith("cpu"))
        self.conditions = {
            "device": device_name(device),
            "dtype": _dtype(transcriber),
            "batch_size": batch_size,
            "warmup_batches": self.warmup,
        }
        self._to_warm = self.warmup

    def lines(
        self, batch: Sequence[Utterance], origin: Mapping[str, str], report: RunReport
    ) -> list[Hypothesis]:
        """Returns the lines of a batch, and adds to `report` what was done and what could not be read."""
        heard, waveforms = _read(batch, report)
        if not heard:
            return []
        if self._to_warm:
            self._transcribe(heard, waveforms)
            self._to_warm -= 1
        seconds, outputs = self._transcribe(heard, waveforms)
        durations = [
            item.duration or len(wave) / SAMPLING_RATE for item, wave in zip(heard, waveforms, strict=True)
        ]
        report.new += len(heard)
        report.audio_seconds += sum(durations)
        report.work_seconds += seconds
        share = seconds / sum(durations)
        return [
            Hypothesis(
                utt_id=item.utt_id,
                lang=item.lang,
                text=item.text,
                pred_text=output.text,
                duration=round(duration, 3),
                elapsed=round(share * duration, 4),
                speaker=item.speaker,
                extra=item.columns | _recognised(output) | dict(origin) | self.conditions,
            )
            for item, duration, output in zip(heard, durations, outputs, strict=True)
        ]

    def _transcribe(self, heard: Sequence[Utterance], waveforms: list[Samples]) -> tuple[float, Any]:
        langs = [item.lang for item in heard]
        work = partial(self.transcriber.transcribe, waveforms, langs=langs, batch_size=self.batch_size)
        return _timed(work, self.device)


def _read(batch: Sequence[Utterance], report: RunReport) -> tuple[list[Utterance], list[Samples]]:
    heard, waveforms = [], []
    for item in batch:
        try:
            waveforms.append(item.read())
        except UnreadableAudio as error:
            report.skipped.append(str(error))
        else:
            heard.append(item)
    return heard, waveforms


def _recognised(output: Any) -> dict[str, str]:
    """The language that the system recognised by itself, where it says one."""
    lang = getattr(output, "pred_lang", None)
    return {"pred_lang": lang} if lang else {}


def device_name(device: str) -> str:
    """Returns the device with the name of the accelerator where there is one: cuda:0 NVIDIA H100."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}" if torch.cuda.is_available() else device


def _dtype(transcriber: Any) -> str:
    """Returns what the transcriber says it computes in, else the type of its model's weights."""
    said = getattr(transcriber, "dtype", None)
    model = getattr(transcriber, "model", None)
    if said is None and model is not None and hasattr(model, "parameters"):
        said = getattr(next(iter(model.parameters()), None), "dtype", None)
    return str(said or "unknown").removeprefix("torch.")


def _timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    _settled(device)
    start = time.perf_counter()
    result = work()
    _settled(device)
    return time.perf_counter() - start, result


def _settled(device: str) -> None:
    """Waits until an accelerator has done what it was given, so that the clock counts all of it."""
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize(device)
