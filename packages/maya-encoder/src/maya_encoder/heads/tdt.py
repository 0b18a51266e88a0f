"""The token-and-duration transducer (arXiv 2304.06795): the head `tdt`."""

from dataclasses import dataclass, replace

from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.transducer_loss import TransducerSettings


@dataclass(kw_only=True)
class TDTConfig(RNNTConfig):
    """A transducer whose every step also says how many frames to go on by.

    The output layer has a row for each duration after that of the blank, as in NeMo's checkpoints.
    """

    name: str = "tdt"
    """Entry-point name."""
    durations: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Frames that a step may go on by, in the order of the output layer's last rows."""
    sigma: float = 0.05
    """Taken off the log-probability of every label and blank in the loss, which favours long steps; 0.02 to
    0.05 in NeMo's recipes."""
    omega: float = 0.1
    """Weight of the plain transducer loss in the sum, in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.durations = tuple(self.durations)  # YAML has lists
        if not self.durations:
            raise ValueError("`durations` must hold one or more numbers of frames, got none")
        self.settings(training=True)  # checks them

    def settings(self, training: bool = False) -> TransducerSettings:
        """How the loss is computed; omega acts in training only, sigma always."""
        return replace(
            super().settings(training),
            durations=self.durations,
            sigma=self.sigma,
            omega=self.omega if training else 0.0,
        )
