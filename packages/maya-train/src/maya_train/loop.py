"""The training loop: optimizer steps over Fabric, one loss a step over the tokens of all ranks, exact resume.

A step fetches all its batches first, so that the number of tokens over ranks and micro-batches is known
before the first backward pass. Every decision (stop, skip) is taken on a number that all ranks share.
"""

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from maya_data.loading.batch import Batch
from maya_data.loading.stream import LoaderProcessDied
from maya_train.counters import Counters as Counters
from maya_train.faults import hang
from maya_train.faults.broken_weights import refuse_broken
from maya_train.faults.guard import Guard
from maya_train.faults.memory import Overrun
from maya_train.faults.skips import Diverged as Diverged
from maya_train.faults.skips import Verdict
from maya_train.gauges import Gauges
from maya_train.optim import schedule, set_rates
from maya_train.preemption import Preempted, StopFlag, watch_signals
from maya_train.progress import StepProgress, Stopwatch
from maya_train.randomness import restore_random_state, seed_rank, untouched_randomness
from maya_train.run_log import RunLog, ValidationLog
from maya_train.schema import RunConfig
from maya_train.strategies import Capabilities
from maya_train.tasks import Moment, Task, Work
from maya_train.training_state import TrainingState
from maya_train.updates import held_back, make_updates
from maya_train.wrapping import set_up, whole_weights


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
        self._capabilities = capabilities
        self._begins = {**dict.fromkeys(task.trained(), 0), **task.begins(cfg.max_steps)}
        assert isinstance(task, nn.Module)
        self._module, self._optimizer = set_up(fabric, cfg, task, capabilities)
        self._updates = make_updates(fabric, self._module, self._optimizer, cfg.grad_clip, capabilities)
        self._state = TrainingState(fabric, cfg, self._module, self._optimizer, capabilities)
        self._guard = Guard(fabric, cfg, self._module.module, capabilities)
        self._tell = self._say
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
            stack.enter_context(self._guard.watch)
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
        self._tell = progress.say
        while self.counters.step < self.cfg.max_steps:
            watch = Stopwatch()
            self._at(hang.READING)
            parts = self._fetch(batches)
            data_seconds = watch.lap()
            works = self._prepare(parts)
            self._at(hang.ADDING)
            tokens, audio_seconds, stops = self._sums(works, stop)
            if stops:
                self._save()
                self._state.wait()
                progress.say(f"{self.cfg.stage}: stopped after step {self.counters.step}, state saved")
                raise Preempted(self.counters.step)
            record = self._step(works, tokens)
            step_seconds = watch.lap()
            num_batches = self.cfg.grad_accum * self.fabric.world_size
            self.counters.count_step(num_batches, audio_seconds, data_seconds + step_seconds)
            record |= {"audio_seconds": round(audio_seconds, 3), "skipped": self.counters.skipped}
            record["time"] = {"step": round(step_seconds, 4), "data": round(data_seconds, 4)}
            self._gauges.read(works, record)
            self._log.write(record)
            progress.advance(record)
            self._after_step(progress)

    def _fetch(self, batches: Iterator[Batch]) -> list[Batch]:
        """Wait for the step's batches."""
        with untouched_randomness():
            found = [self._next(batches) for _ in range(self.cfg.grad_accum)]
            return [part for batch in found for part in self._guard.cut(batch, self.counters)]

    def _prepare(self, parts: list[Batch]) -> list[Work]:
        """Bring batches to the device and spell their texts in tokens."""
        with untouched_randomness():
            return [self.task.prepare(batch.to(self.fabric.device)) for batch in parts]

    def _next(self, batches: Iterator[Batch]) -> Batch:
        if self._guard.inject is not None:
            self._guard.inject.before_reading(self.counters.step + 1)
        while True:
            try:
                return next(batches)
            except LoaderProcessDied as error:
                self._guard.worker_died(self.counters.step + 1, error)

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
        if step in self._begins.values():
            self.counters.usual_steps = 0  # another loss has entered: the usual one is not known yet
        self._at(hang.PASSING)
        self._guard.remember()
        names, sums = self._backward(works, Moment(step, total), tokens)
        self._at(hang.AVERAGING)
        if overruns := self._guard.overruns():
            return self._out_of_memory(works, overruns) | {"tokens": int(tokens), "lr": lr}
        self._guard.reduce(step + 1)
        self._drop_idle_gradients(step)
        values: list[float] = []
        verdicts: list[Verdict | None] = []

        def accepts(norm: Tensor) -> bool:
            joined = torch.cat([self._reduce(torch.stack(sums).sum(0)), norm.to(sums[0]).reshape(1)])
            values.extend(joined.tolist())  # the one wait for the device
            verdicts.append(self._guard.judge(self.counters, values[0] / tokens, values[-1]))
            self._at(hang.STEPPING)
            return verdicts[0] is None

        if self._updates.apply(accepts):
            self._state.after_update()
            self._guard.take_in(self.counters, values[0] / tokens)
        elif verdicts[0] is not None:
            self._guard.skip(verdicts[0], works, [each[0] for each in sums], self.counters)
        record: dict[str, Any] = {"step": step + 1, "loss": values[0] / tokens}
        for (name, by_token), value in zip(names, values[1:-1], strict=True):
            record[name] = value / tokens if by_token else value
        return {**record, "grad_norm": values[-1], "tokens": int(tokens), "lr": lr}

    def _out_of_memory(self, works: list[Work], overruns: list[Overrun]) -> dict[str, Any]:
        """Skip the step on all ranks, and cut later batches that are as long."""
        self._updates.drop()
        verdict = self._guard.lower(overruns, self.counters, self._tell)
        self._guard.skip(verdict, works, [], self.counters)
        return {"step": self.counters.step + 1, "loss": math.nan, "grad_norm": math.nan}

    def _backward(
        self, works: list[Work], moment: Moment, tokens: float
    ) -> tuple[list[tuple[str, bool]], list[Tensor]]:
        """Gradients of the mean over all tokens; returns the names and the local sums of what is logged."""
        names: list[tuple[str, bool]] = []
        sums: list[Tensor] = []
        for index, work in enumerate(works):
            is_held = self._guard.reduces or index < len(works) - 1
            held = held_back(self.fabric, self._module, self._capabilities, enabled=is_held)
            with held, self._guard.noticing(work):
                names, logged = self._pass(work, moment, tokens)
                sums.append(logged)
            if self._guard.is_out_of_memory:
                break
        return names, sums

    def _pass(self, work: Work, moment: Moment, tokens: float) -> tuple[list[tuple[str, bool]], Tensor]:
        """Forward and backward of one batch, of which only gradients and a few numbers stay in memory."""
        inject = self._guard.inject
        if inject is not None:
            inject.in_forward(moment.step + 1)
        loss = self._module(work, moment)
        loss_sum = loss.loss_sum if inject is None else inject.loss(moment.step + 1, loss.loss_sum)
        # The strategy averages over ranks, so the sum over ranks is that mean times their number.
        self.fabric.backward(loss_sum * (self.fabric.world_size / tokens), model=self._module)
        names = [(name, True) for name in loss.parts] + [(name, False) for name in loss.counts]
        logged = [loss_sum.detach(), *loss.parts.values(), *loss.counts.values()]
        return names, torch.stack([value.to(torch.float64) for value in logged])

    def _drop_idle_gradients(self, step: int) -> None:
        """Where the loss is not in yet, gradients are zero; without them AdamW leaves the weights alone."""
        if self._capabilities.owns_accumulation:
            return  # their rate is 0 all the same
        for name, start in self._begins.items():
            if step < start:
                for parameter in self.task.trained()[name].parameters():
                    parameter.grad = None

    def _count_wall(self) -> None:
        now = time.perf_counter()
        self.counters.wall_seconds += now - self._counted_until
        self._counted_until = now

    def _after_step(self, progress: StepProgress) -> None:
        step, last = self.counters.step, self.counters.step == self.cfg.max_steps
        self._guard.compare(step)
        due = last or (self.cfg.valid_every > 0 and step % self.cfg.valid_every == 0)
        if self.hooks.validate is not None and due:
            self._at(hang.VALIDATING)
            with untouched_randomness(), self._state.shown(), whole_weights(self._module.module):
                scores = self.hooks.validate(Moment(step, self.cfg.max_steps))
            self.task.set_modes()
            self._valid_log.write({"step": step, **scores})
            self._state.note_scores(step, scores)
            progress.say(f"{self.cfg.stage}: step {step}: {scores.get('summary', '')}")
        if last or step % self.cfg.save_every == 0 or (due and self._state.keeps_best):
            self._save()

    def _save(self) -> None:
        if not self._state.is_saved(self.counters.step):
            self._at(hang.SAVING)
            refuse_broken(self.fabric, self._module.module, self.counters.step)
            self._count_wall()
            self._state.save(self.counters.step, asdict(self.counters))

    def _at(self, place: int) -> None:
        """Tell the watch; a step that was counted is validated and saved under its own number."""
        self._guard.watch.at(self.counters.step + (place not in hang.UNBOUND), place)

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
