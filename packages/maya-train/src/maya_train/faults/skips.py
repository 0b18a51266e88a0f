"""Which steps are skipped, how many of them are borne, and which utterances were in them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maya_train.counters import Counters
from maya_train.faults_config import SPIKE_STEPS, FaultsConfig

FILE = "skipped.jsonl"
HINTS = {
    "not finite": ("had no finite gradient", "lower lr, or raise optim.warmup_steps"),
    "spike": ("had a loss far above the usual", "lower lr, or raise faults.spike_factor"),
    "out of memory": (
        "did not fit into memory",
        "run `maya-train calibrate`, or lower data.batch_duration or data.max_duration",
    ),
}


class Diverged(RuntimeError):
    """Too many steps were skipped."""


class Verdict(NamedTuple):
    """Why a step is skipped."""

    kind: str
    """A key of `HINTS`."""
    reason: str
    """A sentence without its end."""


def judge(counters: Counters, loss: float, norm: float, faults: FaultsConfig) -> Verdict | None:
    """Why this step has to be skipped, or None; all processes come to the same, since the numbers are shared.

    Args:
        counters: what the run has done; the mean of the last losses is in it.
        loss: by token, of all processes.
        norm: of the reduced gradient, before clipping.
        faults: what is borne.
    """
    if not math.isfinite(loss):
        return Verdict("not finite", f"the loss is {loss}")
    if not math.isfinite(norm):
        return Verdict("not finite", f"the gradient's norm is {norm}")
    if faults.spike_factor is None:
        return None
    enough = counters.usual_steps >= (faults.spike_steps or SPIKE_STEPS)
    if enough and loss > faults.spike_factor * counters.usual_loss > 0:
        times = loss / counters.usual_loss
        return Verdict(
            "spike", f"the loss {loss:.3g} is {times:.1f} times the usual {counters.usual_loss:.3g}"
        )
    return None


def take_in(counters: Counters, loss: float, faults: FaultsConfig) -> None:
    """Count a step that was taken; its loss becomes part of what is usual."""
    counters.skips_in_a_row = 0
    if faults.spike_factor is not None:
        counters.usual_steps += 1
        weight = 1 / min(counters.usual_steps, faults.spike_steps or SPIKE_STEPS)
        counters.usual_loss += weight * (loss - counters.usual_loss)


def leave_out(counters: Counters, verdict: Verdict, faults: FaultsConfig, stage: str) -> None:
    """Count a step that was skipped.

    Raises:
        Diverged: that is one too many.
    """
    counters.skipped += 1
    counters.skips_in_a_row += 1
    what, hint = HINTS[verdict.kind]
    step, where = counters.step + 1, f"which utterances: {FILE}"
    if counters.skips_in_a_row >= faults.max_skips:
        raise Diverged(
            f"stage {stage}: {faults.max_skips} steps in a row up to step {step} {what}; {hint} ({where})"
        )
    if faults.max_skipped is not None and counters.skipped > faults.max_skipped:
        raise Diverged(
            f"stage {stage}: {counters.skipped} steps up to step {step} were skipped, the last of which"
            f" {what}; {hint}, or raise faults.max_skipped ({where})"
        )


def write_down(folder: Path, step: int, verdict: Verdict, batches: Sequence[Mapping[str, Any]]) -> None:
    """Append a skipped step to `skipped.jsonl`: why, and the utterances of every process."""
    line = {"step": step, "kind": verdict.kind, "reason": verdict.reason, "batches": list(batches)}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
