"""The batch that crosses the package border: 16-bit waveforms with their texts, and nothing tokenized."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from maya_data.audio.fetch import Samples


@dataclass
class Batch:
    """Utterances of similar duration, padded with zeros at the end."""

    ids: list[str]
    waveforms: torch.Tensor
    """int16 (B, S)."""
    waveform_lens: torch.Tensor
    """int64 (B,), in samples."""
    sampling_rate: int
    texts: list[str]
    """Spelled by the text profile."""
    langs: list[str]
    durations: list[float]
    """Seconds."""
    step: int
    """Position of this batch in its rank's stream, or in its epoch where that is counted."""
    epoch: int = 0

    @property
    def num_utterances(self) -> int:
        """B."""
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """Return the batch with its tensors on `device`."""
        return replace(
            self,
            waveforms=self.waveforms.to(device, non_blocking=non_blocking),
            waveform_lens=self.waveform_lens.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; torch's DataLoader calls this."""
        return replace(
            self, waveforms=self.waveforms.pin_memory(), waveform_lens=self.waveform_lens.pin_memory()
        )


@dataclass(frozen=True)
class Utterance:
    """One decoded segment."""

    id: str
    samples: Samples
    text: str
    lang: str


def collate(utterances: Sequence[Utterance], sampling_rate: int, step: int = 0, epoch: int = 0) -> Batch:
    """Return the utterances as one batch, in their order."""
    lens = [len(utterance.samples) for utterance in utterances]
    waveforms = np.zeros((len(lens), max(lens)), np.int16)  # (B, S)
    for row, utterance in zip(waveforms, utterances, strict=True):
        row[: len(utterance.samples)] = utterance.samples
    return Batch(
        ids=[utterance.id for utterance in utterances],
        waveforms=torch.from_numpy(waveforms),
        waveform_lens=torch.tensor(lens),
        sampling_rate=sampling_rate,
        texts=[utterance.text for utterance in utterances],
        langs=[utterance.lang for utterance in utterances],
        durations=[length / sampling_rate for length in lens],
        step=step,
        epoch=epoch,
    )
