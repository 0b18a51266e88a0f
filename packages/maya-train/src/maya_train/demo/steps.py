"""Runs the demo's commands in order: what is done is kept, what was interrupted goes on."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from maya_train.demo.memory import PeakMemory
from maya_train.locks import dies_with

GRACE_SECONDS = 60
"""For a command to save its state after an interrupt."""


class StepFailed(RuntimeError):
    """A command of the demo ended badly; what was finished before it is kept."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, as a user would type it."""

    name: str
    """Short name, the key in `summary.json: seconds`."""
    title: str
    """What it does, for the person who watches."""
    command: tuple[str, ...]
    """Console script and its arguments."""
    outputs: tuple[Path, ...] = ()
    """Must exist for the step to count as done."""
    accepts: Callable[[Path], bool] = Path.exists
    """Whether an output is what the steps after this one can use."""
    minutes: float | None = None
    """Expected duration on two idle cores."""


@dataclass
class Ledger:
    """`steps.json`: which commands were done, how long they took, and how much memory they held."""

    path: Path
    done: dict[str, dict[str, object]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "Ledger":
        """Returns the ledger of a run folder; a torn one counts as empty."""
        try:
            return cls(path, json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError):
            return cls(path)

    def holds(self, step: Step) -> bool:
        """Whether the very same command was finished and its outputs can still be used."""
        entry = self.done.get(step.name, {})
        return entry.get("command") == list(step.command) and all(map(step.accepts, step.outputs))

    def seconds(self, name: str) -> float:
        """Seconds that a step took, over all its starts."""
        return float(str(self.done.get(name, {}).get("seconds", 0.0)))

    @property
    def peak_gib(self) -> float:
        """Most memory that any step held."""
        return max((float(str(entry.get("peak_gib", 0.0))) for entry in self.done.values()), default=0.0)

    def record(self, step: Step, seconds: float, peak_gib: float, *, finished: bool) -> None:
        """Writes the step down (atomically); one that did not finish keeps its time but is no longer done."""
        entry: dict[str, object] = {
            "seconds": round(self.seconds(step.name) + seconds, 2),
            "peak_gib": round(max(peak_gib, float(str(self.done.get(step.name, {}).get("peak_gib", 0)))), 3),
        }
        if finished:
            entry["command"] = list(step.command)
        self.done[step.name] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".tmp")
        partial.write_text(json.dumps(self.done, indent=1), encoding="utf-8")
        os.replace(partial, self.path)

    def forget(self, names: Sequence[str]) -> None:
        """Drops steps whose inputs are about to be made again."""
        for name in names:
            self.done.pop(name, None)


def run_steps(steps: Sequence[Step], ledger: Ledger, console: Console) -> None:
    """Runs what is not done yet, in order.

    Raises:
        StepFailed: a command ended with another status than 0; the message names it.
    """
    for number, step in enumerate(steps, start=1):
        label = f"[{number}/{len(steps)}] {step.title}"
        if ledger.holds(step):
            console.print(f"[green]done[/]  {label}", highlight=False)
            continue
        ledger.forget([later.name for later in steps[number:] if later.name in ledger.done])
        about = f", about {step.minutes:g} min on two idle cores" if step.minutes else ""
        console.rule(f"{label}{about}", align="left")
        console.print(f"$ {shlex.join(step.command)}", style="dim", highlight=False, soft_wrap=True)
        _run(step, ledger)


def _run(step: Step, ledger: Ledger) -> None:
    started = time.monotonic()
    try:
        with PeakMemory() as memory:
            status = _call(step.command)
    except KeyboardInterrupt:
        ledger.record(step, time.monotonic() - started, memory.gib, finished=False)
        raise StepFailed(f"interrupted in step {step.name}; the same command goes on from there") from None
    ledger.record(step, time.monotonic() - started, memory.gib, finished=status == 0)
    if status:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise StepFailed(
            f"step {step.name} {how}; what was finished is kept, the same command goes on from there"
        )


def _call(command: Sequence[str]) -> int:
    """Runs a console script of this environment, which ends with this process, however that ends."""
    script = Path(sys.executable).parent / command[0]
    program = str(script) if script.exists() else command[0]
    # In a session of its own: the terminal would interrupt it as well, and two signals mean "at once".
    with subprocess.Popen(
        [program, *command[1:]],
        start_new_session=True,
        preexec_fn=dies_with(os.getpid()),
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            _interrupt(process)
            raise


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Hands an interrupt on and waits; after a second one, or too long, all of the command is killed."""
    try:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=GRACE_SECONDS)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGKILL)  # the session it leads
        process.wait()
