"""What a stage has done so far; saved with it."""

from dataclasses import dataclass, field


@dataclass
class Counters:
    """What a run has done so far; saved with it."""

    step: int = 0
    batches: int = 0
    """Batches of all ranks together: the position in the plan."""
    audio_seconds: float = 0.0
    skipped: int = 0
    skips_in_a_row: int = 0
    seconds: float = 0.0
    """Wall time in steps, without validation and saving."""
    wall_seconds: float = 0.0
    """All wall time, over all starts up to their last saved state."""
    usual_loss: float = 0.0
    """Mean loss of the last steps that were taken; counted where `faults.spike_factor` is set."""
    usual_steps: int = 0
    """Steps behind that mean."""
    budgets: dict[int, float] = field(default_factory=dict)
    """Most padded seconds of a batch by bucket of `faults.memory`, where one did not fit."""

    def count_step(self, num_batches: int, audio_seconds: float, seconds: float) -> None:
        """Count one optimizer step over all ranks."""
        self.step += 1
        self.batches += num_batches
        self.audio_seconds += audio_seconds
        self.seconds += seconds
