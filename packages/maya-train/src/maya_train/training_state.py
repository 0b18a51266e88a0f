"""What a stage saves and goes on from: weights, optimizer, averages, counters, all random streams.

The loop asks this object alone; how the bytes get to the disk is in `checkpoints/`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lightning.fabric import Fabric
from torch import nn

from maya_train import batch_statistics
from maya_train.best import score_of
from maya_train.checkpoints import BrokenCheckpoint, folders
from maya_train.checkpoints.contents import Contents, load_own
from maya_train.checkpoints.engine import EngineContents
from maya_train.checkpoints.folders import Kept
from maya_train.checkpoints.peers import Peers
from maya_train.checkpoints.saver import Saver
from maya_train.ema import MovingAverage, RunningMean
from maya_train.errors import ConfigError
from maya_train.randomness import random_state
from maya_train.schema import RunConfig
from maya_train.strategies import Capabilities

Say = Callable[[str], None]


class Resumed(NamedTuple):
    """Where a stage goes on."""

    step: int
    counters: Mapping[str, Any]
    random: dict[str, Any] | None
    """This process's random streams; None where the run had another number of processes."""


class TrainingState:
    """The state of one stage on its way to the disk and back.

    Args:
        fabric: launched.
        cfg: the stage.
        module: what `fabric.setup` returned for the task.
        optimizer: what it returned for the optimizer.
        capabilities: of the strategy.
    """

    def __init__(
        self, fabric: Fabric, cfg: RunConfig, module: Any, optimizer: Any, capabilities: Capabilities
    ) -> None:
        self._fabric, self._cfg = fabric, cfg
        self._root = Path(cfg.out_dir) / "checkpoints"
        self._module: nn.Module = module.module
        self._peers = Peers(fabric)
        average, engine = cfg.average, getattr(module, "_forward_module", None)
        self._contents: Contents | EngineContents
        if hasattr(engine, "load_checkpoint"):  # DeepSpeed keeps its weights to itself
            self._contents = EngineContents(engine, self._peers)
            _refuse_averages(cfg, self._module)
        else:
            self._contents = Contents(self._module, optimizer, self._peers, is_sharded=capabilities.sharded)
        self.ema = MovingAverage(self._module, average.ema) if average and average.ema else None
        keep = Kept(
            last=max(cfg.keep_last, average.last if average else 1),
            best=max(cfg.keep_best, average.best if average else 0),
        )
        self._saver = Saver(self._root, self._peers, keep, in_background=cfg.save_async)
        self._saved_step, self._score = -1, (-1, 0.0)
        self.keeps_best = keep.best > 0

    def after_update(self) -> None:
        """The optimizer has taken a step."""
        if self.ema is not None:
            self.ema.update()

    def note_scores(self, step: int, scores: Mapping[str, Any]) -> None:
        """What a validation found; it decides which states are the best."""
        if self.keeps_best:
            self._score = (step, score_of(scores, self._cfg.best_by))

    @property
    def has_failed(self) -> bool:
        """Whether a save in the background has failed: then the run has to stop, and `save` says why."""
        return self._saver.has_failed

    def is_saved(self, step: int) -> bool:
        """Whether the state of this step is on the disk, or on its way."""
        return self._saved_step == step

    def save(self, step: int, counters: Mapping[str, Any]) -> None:
        """Save; in the background only the copy is made here."""
        self._saved_step = step
        means = batch_statistics.mean_over_processes(self._fabric, self._module)
        own: dict[str, Any] = {"random": random_state()}
        if means:
            own["statistics"] = batch_statistics.statistics(self._module)
        common = {"counters": dict(counters), "scaler": self._fabric.strategy.precision.state_dict()}
        parts = self._contents.parts(common, own, means, self.ema)
        self._saver.save(step, parts, self._score[1] if self._score[0] == step else None)

    def wait(self) -> None:
        """Return when everything is on the disk."""
        self._saver.wait()

    def resume(self, say: Say) -> Resumed | None:
        """Load the newest training state that is whole; None where there is none."""
        folder = self._newest_whole(say)
        if folder is None:
            return None
        mark = folders.read_mark(folder)
        common = self._contents.load(folder, self.ema)
        self._fabric.strategy.precision.load_state_dict(common["scaler"])
        self._saved_step = mark.step
        own = load_own(folder, self._peers) if mark.world_size == self._peers.world_size else None
        if own is not None:
            batch_statistics.put(self._module, own.get("statistics", {}))
        return Resumed(mark.step, common["counters"], own and own["random"])

    def _newest_whole(self, say: Say) -> Path | None:
        """The folder to go on from, the same for all processes, each of which reads its share of it."""
        share = slice(self._peers.rank, None, self._peers.world_size)
        for folder in self._peers.gather(folders.newest_first(self._root))[0]:
            faults = self._peers.gather(folders.fault(folder) or folders.damage(folder, share))
            reason = next((fault for fault in faults if fault), None)
            if reason is None:
                return Path(folder)
            say(f"{folder} is passed over: {reason}")
        return None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the block runs the module is what would be handed on: mean weights, mean batch statistics."""
        with ExitStack() as stack:
            if self.ema is not None:
                stack.enter_context(self.ema.shown())
            stack.enter_context(batch_statistics.averaged(self._fabric, self._module))
            yield

    def finish(self, say: Say) -> None:
        """Everything is on the disk, and the module becomes what is handed on."""
        self.wait()
        average = self._cfg.average
        batch_statistics.put(self._module, batch_statistics.mean_over_processes(self._fabric, self._module))
        if self.ema is not None:
            self.ema.adopt()
        if average is not None and (average.last or average.best):
            self._adopt_mean_of(self._chosen(average.last, average.best), say)

    def _chosen(self, last: int, best: int) -> list[Path]:
        """The newest or the best whole states, the same on all processes."""
        whole = [path for path in folders.newest_first(self._root) if folders.fault(path) is None]
        found: list[Path] = self._peers.gather(whole[:last] if last else folders.best(whole, best))[0]
        if not found:
            raise BrokenCheckpoint(
                f"`average.best`: no state in {self._root} has a score; set valid_every and data.valid_index"
            )
        return found

    def _adopt_mean_of(self, chosen: list[Path], say: Say) -> None:
        mean = RunningMean()
        for folder in chosen:
            mean.add(self._contents.read_weights(folder))
        self._contents.put_weights(mean.state())
        say(f"{self._cfg.stage}: the model is the mean of {', '.join(path.name for path in chosen)}")

    def close(self) -> None:
        """End the background's work."""
        self._saver.close()


def _refuse_averages(cfg: RunConfig, module: nn.Module) -> None:
    """Refuse means of weights that nobody can get at."""
    if (average := cfg.average) is None:
        return
    is_spread = any(hasattr(parameter, "ds_tensor") for parameter in module.parameters())
    for key in ("ema", "last", "best"):
        if getattr(average, key) and (key != "ema" or is_spread):
            raise ConfigError(
                f"stage {cfg.stage}: `average.{key}` is not offered under this DeepSpeed strategy"
            )
