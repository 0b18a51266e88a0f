"""The training loop: optimizer steps over Fabric, one loss a step over the tokens of all ranks, exact resume.

A step fetches all its batches first, so that the number of tokens over ranks and micro-batches is known
before the first backward pass. Every decision (stop, skip) is taken on a number that all ranks share.
"""

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from maya_data.loading.batch import Batch
from maya_train.gauges import Gauges
from maya_train.optim import build_optimizer, schedule, set_rates
from maya_train.preemption import Preempted, StopFlag, watch_signals
from maya_train.progress import StepProgress, Stopwatch
from maya_train.randomness import restore_random_state, seed_rank, untouched_randomness
from maya_train.run_log import RunLog, ValidationLog
from maya_train.schema import RunConfig
from maya_train.strategies import Capabilities
from maya_train.tasks import Moment, Task, Work
from maya_train.training_state import TrainingState

MAX_SKIPS = 10  # steps in a row without a finite gradient before the run gives up


class Diverged(RuntimeError):
    """Too many steps in a row had no finite gradient."""


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


@dataclass
class Hooks:
    """What the loop calls out to."""

    batches: Callable[[int], Iterator[Batch]]
    """The endless batches of this rank from its N-th on."""
    validate: Callable[[Moment], Mapping[str, Any]] | None = None
    """Scores of the model as it is, the same on all ranks."""
    started: float = field(default_factory=time.perf_counter)
    """When this start of the stage began."""


class Trainer:
    """One stage's training: built, resumed and run by `fit`."""

    def __init__(self, fabric: Fabric, cfg: RunConfig, task: Task, hooks: Hooks, capabilities: Capabilities):
        self.fabric, self.cfg, self.task, self.hooks = fabric, cfg, task, hooks
        self.out_dir = Path(cfg.out_dir)
        self.counters = Counters()
        self._counted_until = hooks.started
        self._clips_itself = capabilities.clips_itself
        self._begins = {**dict.fromkeys(task.trained(), 0), **task.begins(cfg.max_steps)}
        assert isinstance(task, nn.Module)
        optimizer = build_optimizer(task.trained(), cfg.lr, cfg.optim)
        self._module, self._optimizer = fabric.setup(task, optimizer)
        self._state = TrainingState(fabric, cfg, self._module, self._optimizer, capabilities)
        self._gauges = Gauges(fabric, cfg)
        self._log = RunLog(cfg, enabled=fabric.is_global_zero)
        scores = self.out_dir / "validation.jsonl"
        self._valid_log = ValidationLog(self._log, scores, enabled=fabric.is_global_zero)

    def fit(self) -> Counters:
        """Train to `max_steps`, from the newest whole training state if there is one."""
        restarted = self._log.has_lines
        resumed = self._state.resume(self._say)
        if resumed is not None:
            restarted, self.counters = True, Counters(**resumed.counters)
        with ExitStack() as stack:
            stop = stack.enter_context(watch_signals())
            stack.callback(self._state.close)
            stack.enter_context(warnings.catch_warnings())
            # About depthwise kernels (D, 1, K): the stride of an axis of size 1 means nothing.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            stack.enter_context(self._log)
            stack.enter_context(self._valid_log)
            if restarted:
                self._log.write({"event": "resume", "step": self.counters.step})
            if resumed is None or resumed.random is None:
                seed_rank(self.cfg.seed + self.counters.step, self.fabric.global_rank)
            else:
                restore_random_state(resumed.random)
            self._run(stop, stack.enter_context(self._progress()))
            self._state.finish(self._say)
        self._count_wall()
        return self.counters

    def _run(self, stop: StopFlag, progress: StepProgress) -> None:
        if progress.start:
            progress.say(f"{self.cfg.stage}: goes on after step {progress.start}")
        with untouched_randomness():
            batches = self.hooks.batches(self.counters.batches // self.fabric.world_size)
        self.task.set_modes()
        while self.counters.step < self.cfg.max_steps:
            watch = Stopwatch()
            works = self._fetch(batches)
            data_seconds = watch.lap()
            tokens, audio_seconds, stops = self._sums(works, stop)
            if stops:
                self._save()
                self._state.wait()
                progress.say(f"{self.cfg.stage}: stopped after step {self.counters.step}, state saved")
                raise Preempted(self.counters.step)
            record = self._step(works, tokens)
            step_seconds = watch.lap()
            self._count(works, audio_seconds, data_seconds + step_seconds)
            record |= {"audio_seconds": round(audio_seconds, 3), "skipped": self.counters.skipped}
            record["time"] = {"step": round(step_seconds, 4), "data": round(data_seconds, 4)}
            self._gauges.read(works, record)
            self._log.write(record)
            progress.advance(record)
            self._after_step(progress)

    def _fetch(self, batches: Iterator[Batch]) -> list[Work]:
        with untouched_randomness():
            found = [next(batches) for _ in range(self.cfg.grad_accum)]
            return [self.task.prepare(batch.to(self.fabric.device)) for batch in found]

    def _sums(self, works: list[Work], stop: StopFlag) -> tuple[float, float, bool]:
        """Tokens and audio seconds of this step over all ranks, and whether one of them was asked to stop."""
        own = [
            float(sum(work.num_tokens for work in works)),
            sum(sum(work.batch.durations) for work in works),
            float(stop.is_set or self._state.has_failed),
        ]
        tokens, audio_seconds, stops = self._reduce(torch.tensor(own, dtype=torch.float64)).tolist()
        return max(1.0, tokens), audio_seconds, stops > 0

    def _reduce(self, values: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return values
        reduced = self.fabric.all_reduce(values.to(self.fabric.device), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced

    def _step(self, works: list[Work], tokens: float) -> dict[str, Any]:
        """Forward, backward and update; returns the line to log. `tokens` is a sum over all ranks."""
        step, total = self.counters.step, self.cfg.max_steps
        factors = {n: schedule(step, total, self.cfg.optim, start) for n, start in self._begins.items()}
        lr = set_rates(self._optimizer, factors)
        names, sums = self._backward(works, Moment(step, total), tokens)
        self._drop_idle_gradients(step)
        norm = self._clip()
        values = torch.cat(
            [self._reduce(sums), norm.to(sums).reshape(1)]
        ).tolist()  # the one wait for the device
        self._update(values[-1])
        record: dict[str, Any] = {"step": step + 1, "loss": values[0] / tokens}
        for (name, by_token), value in zip(names, values[1:-1], strict=True):
            record[name] = value / tokens if by_token else value
        return {**record, "grad_norm": values[-1], "tokens": int(tokens), "lr": lr}

    def _backward(
        self, works: list[Work], moment: Moment, tokens: float
    ) -> tuple[list[tuple[str, bool]], Tensor]:
        """Gradients of the mean over all tokens; returns the names and the local sums of what is logged."""
        names: list[tuple[str, bool]] = []
        sums: list[Tensor] = []
        for index, work in enumerate(works):
            with self._no_sync(index < len(works) - 1):
                loss = self._module(work, moment)
                # The strategy averages over ranks, so the sum over ranks is that mean times their number.
                self.fabric.backward(loss.loss_sum * (self.fabric.world_size / tokens))
            names = [(name, True) for name in loss.parts] + [(name, False) for name in loss.counts]
            logged = [loss.loss_sum.detach(), *loss.parts.values(), *loss.counts.values()]
            sums.append(torch.stack([value.to(torch.float64) for value in logged]))
        return names, torch.stack(sums).sum(0)

    def _no_sync(self, enabled: bool) -> AbstractContextManager[Any]:
        return self.fabric.no_backward_sync(self._module, enabled=enabled)

    def _drop_idle_gradients(self, step: int) -> None:
        """Where the loss is not in yet, gradients are zero; without them AdamW leaves the weights alone."""
        for name, start in self._begins.items():
            if step < start:
                for parameter in self.task.trained()[name].parameters():
                    parameter.grad = None

    def _clip(self) -> Tensor:
        if self._clips_itself:
            return torch.zeros(())
        limit = self.cfg.grad_clip or float("inf")
        norm = self.fabric.clip_gradients(
            self._module, self._optimizer, max_norm=limit, error_if_nonfinite=False
        )
        assert isinstance(norm, Tensor)
        return norm.detach()

    def _update(self, norm: float) -> None:
        """Step, unless the norm of the reduced gradients (equal on all ranks) is not finite."""
        if math.isfinite(norm):
            self._optimizer.step()
            self._state.after_update()
            self.counters.skips_in_a_row = 0
        else:
            self.counters.skipped += 1
            self.counters.skips_in_a_row += 1
        self._optimizer.zero_grad()
        if self.counters.skips_in_a_row >= MAX_SKIPS:
            raise Diverged(
                f"stage {self.cfg.stage}: {MAX_SKIPS} steps in a row up to step {self.counters.step + 1}"
                " had no finite gradient; lower lr, or raise optim.warmup_steps"
            )

    def _count(self, works: list[Work], audio_seconds: float, seconds: float) -> None:
        self.counters.step += 1
        self.counters.batches += len(works) * self.fabric.world_size
        self.counters.audio_seconds += audio_seconds
        self.counters.seconds += seconds

    def _count_wall(self) -> None:
        now = time.perf_counter()
        self.counters.wall_seconds += now - self._counted_until
        self._counted_until = now

    def _after_step(self, progress: StepProgress) -> None:
        step, last = self.counters.step, self.counters.step == self.cfg.max_steps
        due = last or (self.cfg.valid_every > 0 and step % self.cfg.valid_every == 0)
        if self.hooks.validate is not None and due:
            with untouched_randomness(), self._state.shown():
                scores = self.hooks.validate(Moment(step, self.cfg.max_steps))
            self.task.set_modes()
            self._valid_log.write({"step": step, **scores})
            self._state.note_scores(step, scores)
            progress.say(f"{self.cfg.stage}: step {step}: {scores.get('summary', '')}")
        if last or step % self.cfg.save_every == 0 or (due and self._state.keeps_best):
            self._save()

    def _save(self) -> None:
        if not self._state.is_saved(self.counters.step):
            self._count_wall()
            self._state.save(self.counters.step, asdict(self.counters))

    def _say(self, text: str) -> None:
        if self.fabric.is_global_zero:
            print(text, file=sys.stderr, flush=True)

    def _progress(self) -> StepProgress:
        return StepProgress(
            self.cfg.stage,
            self.cfg.max_steps,
            start=self.counters.step,
            log_every=self.cfg.log_every,
            enabled=self.fabric.is_global_zero,
        )


def fit(
    fabric: Fabric, cfg: RunConfig, task: Task, hooks: Hooks, capabilities: Capabilities | None = None
) -> Counters:
    """Train one stage; see `Trainer`."""
    return Trainer(fabric, cfg, task, hooks, capabilities or Capabilities()).fit()
