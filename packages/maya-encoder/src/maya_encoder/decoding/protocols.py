"""What decoding asks of a head, and no more."""

from typing import Any, Protocol

from torch import Tensor


class Prediction(Protocol):
    """A prediction network; its state is a tensor whose first dimension is the utterance."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """Outputs (B, U+1, P) for labels (B, U), from the empty history on."""

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """Output (B, P) and state (B, ...) before the first label."""

    def step(self, labels: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output and state after one more label (B,)."""


class Joint(Protocol):
    """A joint network, whole and in parts."""

    def enc(self, encoder_out: Tensor) -> Tensor:
        """Projected encoder output (..., J)."""

    def pred(self, states: Tensor) -> Tensor:
        """Projected prediction network output (..., J)."""

    def __call__(self, encoder_part: Tensor, label_part: Tensor) -> Tensor:
        """Logits (..., V + durations) of two projected parts (..., J)."""


class Transducer(Protocol):
    """A transducer head, or a view of one for a single language."""

    @property
    def prediction(self) -> Any:
        """A `Prediction`."""

    @property
    def joint(self) -> Any:
        """A `Joint`."""

    @property
    def blank_id(self) -> int:
        """Id of the blank, the last of the vocabulary."""

    @property
    def durations(self) -> tuple[int, ...]:
        """Frames that a label or a blank may last (TDT); empty for an RNN transducer."""

    @property
    def config(self) -> Any:
        """Has `max_symbols`, the most labels that greedy decoding writes at one frame."""
