"""Fabric's DeepSpeed strategy, and its engine's step as the loop needs it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.strategies.deepspeed import DeepSpeedStrategy
from torch import Tensor, nn

from maya_train.strategies.layers import repeated_layers

WAS_SCALAR = "_maya_was_scalar"
"""Attribute of a parameter that got an axis."""

Accepts = Callable[[Tensor], bool]


class ZeroStrategy(DeepSpeedStrategy):
    """DeepSpeed for the loop's own accumulation; see `EngineUpdates`.

    Args:
        config: DeepSpeed's.
        timeout_minutes: how long a process waits for the others.
    """

    def __init__(self, config: dict[str, Any], timeout_minutes: float = 30.0) -> None:
        # A lock that a killed compilation left would stop every later run: each has a folder of its own.
        os.environ.setdefault("TORCH_EXTENSIONS_DIR", f"/tmp/maya-train-extensions-{os.getpid()}")
        super().__init__(config=config, timeout=timedelta(minutes=timeout_minutes))

    def _initialize_engine(self, model: nn.Module, *args: Any, **keys: Any) -> Any:
        """Without the broadcast of weights: one seed made them, and it cannot take scalars."""
        from deepspeed.runtime.engine import DeepSpeedEngine
        from deepspeed.runtime.zero import stage3

        if self.zero_stage_3:
            _prepare_stage_3(model)
        # Gradients in a leaf would wait for its backward hook; one whose methods are called never has any.
        waits = _other(stage3, "z3_leaf_parameter", lambda parameter: False)
        with waits, _other(DeepSpeedEngine, "_broadcast_model", lambda engine: None):
            found = super()._initialize_engine(model, *args, **keys)
        if self.zero_stage_3:
            _gather_with_the_root(model)
        return found


@contextmanager
def _other(owner: Any, name: str, value: Any) -> Iterator[None]:
    """For the block, another value of an attribute."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _prepare_stage_3(task: nn.Module) -> None:
    """Scalars, which cannot be spread, get an axis; the order of what is called stays the same everywhere.

    Stage 3 follows every module's calls, and wants them to be the same in all processes; a transducer's inner
    ones depend on the batch. So it sees layers, and all that lies outside of them, from the outside only.
    """
    from deepspeed.utils import set_z3_leaf_module

    for parameter in task.parameters():
        if parameter.ndim == 0:
            parameter.data = parameter.data.reshape(1)
            setattr(parameter, WAS_SCALAR, True)
    layers = set(repeated_layers(task))
    for module in _topmost(task, layers):
        set_z3_leaf_module(module, True)


def _topmost(module: nn.Module, layers: set[nn.Module]) -> Iterator[nn.Module]:
    """The layers, and the largest modules in which there is none."""
    for child in module.children():
        if child in layers or layers.isdisjoint(child.modules()):
            yield child
        else:
            yield from _topmost(child, layers)


def _gather_with_the_root(task: nn.Module) -> None:
    """All weights outside of the layers are gathered when the task is called.

    Heads and projectors use theirs whenever they like, and not equally often in all processes.
    """
    from deepspeed.runtime.zero.partition_parameters import register_external_parameter

    own = {id(parameter) for layer in repeated_layers(task) for parameter in layer.parameters()}
    for parameter in task.parameters():
        if id(parameter) not in own:
            register_external_parameter(task, parameter)


class EngineUpdates:
    """Optimizer steps of a DeepSpeed engine, which reduces, clips and steps in one call.

    The engine is asked for its norm in the middle of that call, where the step can still be refused.

    Args:
        engine: DeepSpeed's.
        grad_clip: largest norm of the gradient, 0: any; the engine has it too, but at stage 0.
    """

    def __init__(self, engine: Any, grad_clip: float) -> None:
        self._engine, self._limit = engine, grad_clip or float("inf")
        self._accepts: Accepts | None = None
        optimizer = engine.optimizer
        self._is_plain = engine.zero_optimization_stage() == 0
        if engine.zero_optimization_stage() == 3:
            groups = optimizer._get_norm_groups
            optimizer._get_norm_groups = lambda: self._groups(groups())
        elif not self._is_plain:
            norm = optimizer.scaled_global_norm
            optimizer.scaled_global_norm = lambda *args, **keys: self._asked(norm(*args, **keys))

    def apply(self, accepts: Accepts) -> bool:
        """Step, unless `accepts` refuses the norm of the reduced gradients; see `Updates`."""
        self._accepts = accepts
        if self._is_plain:
            return self._apply_plain()
        self._engine.step()
        if self._accepts is not None:  # it had stopped before it came to the norm
            self._asked(torch.tensor(float("nan")))
        return not self._engine.optimizer.overflow

    def drop(self) -> None:
        """Forget the gradients."""
        self.apply(lambda norm: False)

    def _asked(self, norm: Tensor) -> Tensor:
        accepts, self._accepts = self._accepts, None
        refused = torch.full_like(norm, float("nan"))  # an overflow to it: it cleans up and does not step
        return norm if accepts is None or accepts(norm) else refused

    def _groups(self, groups: list[Tensor]) -> list[Tensor]:
        norms = torch.stack([torch.as_tensor(group) for group in groups])
        is_broken = not bool((norms >= 0).all())  # -1 stands for what is not finite
        norm = norms.norm().new_tensor(float("nan")) if is_broken else norms.norm()
        return groups if torch.isfinite(self._asked(norm)) else [norm * float("nan")]

    def _apply_plain(self) -> bool:
        engine, accepts = self._engine, self._accepts
        assert accepts is not None
        self._accepts, engine._running_engine_step = None, True
        engine.allreduce_gradients()
        engine._running_engine_step = False
        norm = torch.nn.utils.clip_grad_norm_(engine.module.parameters(), self._limit)
        is_accepted = accepts(norm)
        if is_accepted:
            reduces, engine.enable_backward_allreduce = engine.enable_backward_allreduce, False
            engine.step()
            engine.enable_backward_allreduce = reduces
        engine.optimizer.zero_grad()
        return is_accepted
