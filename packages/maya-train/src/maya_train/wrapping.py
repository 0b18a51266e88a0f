"""A task in Fabric's hands: set up with its optimizer, shown whole where its weights are spread."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from maya_train.optim import build_optimizer
from maya_train.schema import RunConfig
from maya_train.strategies import Capabilities
from maya_train.strategies.fsdp import RESHARDS
from maya_train.strategies.layers import repeated_layers
from maya_train.tasks import Task

KEPT = -1  # no module of a model has this number


def set_up(fabric: Fabric, cfg: RunConfig, task: Task, capabilities: Capabilities) -> tuple[Any, Any]:
    """The task's module and its optimizer as Fabric wraps them."""
    assert isinstance(task, nn.Module)
    if cfg.compile:
        for layer in repeated_layers(task):
            layer.compile(dynamic=True)
    with _full_precision_constants(task):
        if capabilities.joint_setup:
            module, optimizer = fabric.setup(task, build_optimizer(task.trained(), cfg.lr, cfg.optim))
            return module, optimizer
        module = fabric.setup_module(task)
    # Where weights are spread, they are other tensors now.
    return module, fabric.setup_optimizers(build_optimizer(task.trained(), cfg.lr, cfg.optim))


@contextmanager
def _full_precision_constants(task: nn.Module) -> Iterator[None]:
    """Modules without weights (windows, filters, frequencies) keep their numbers under bf16-true."""
    bare = [module for module in task.modules() if not any(True for _ in module.parameters())]
    before = [
        (module, name, value)
        for module in bare
        for name, value in module.named_buffers(recurse=False)
        if value.is_floating_point()
    ]
    yield
    for module, name, value in before:
        now = module.get_buffer(name)
        if now.dtype != value.dtype:
            setattr(module, name, value.to(now.device))


@contextmanager
def whole_weights(task: nn.Module) -> Iterator[None]:
    """All weights are whole in all processes while the block runs, which may then differ in what they call.

    For forward passes alone: a state dict has shares even here, see `handed_on`.
    """
    with ExitStack() as stack:
        sharded = [module for module in task.modules() if isinstance(module, FSDPModule)]
        for module in sharded:
            stack.callback(module.reshard)
            stack.callback(module.set_reshard_after_forward, getattr(module, RESHARDS, False), recurse=False)
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
        zero = [parameter for parameter in task.parameters() if hasattr(parameter, "ds_tensor")]
        if zero:
            stack.enter_context(_gathered_by_deepspeed(zero))
        yield


@contextmanager
def handed_on(task: nn.Module, *, keeps: bool) -> Iterator[None]:
    """At the end of training: a block in which the task's state dict is whole. The task cannot train on.

    Args:
        task: trained.
        keeps: whether this process will use the state dict; all of them enter the block.
    """
    zero = [parameter for parameter in task.parameters() if hasattr(parameter, "ds_tensor")]
    with _gathered_by_deepspeed(zero) if zero else nullcontext():
        masters = {id(p): m for p in task.parameters() if (m := _master(p)) is not None}
        for parameter in task.parameters() if masters and keeps else ():
            parameter.data = masters.get(id(parameter), parameter.data.float())
        for module in task.modules() if masters and keeps else ():
            for name, value in module.named_buffers(recurse=False):
                if value.dtype == torch.bfloat16:
                    setattr(module, name, value.float())
        for parameter in task.parameters():
            if hasattr(parameter, "_maya_was_scalar") and keeps:
                parameter.data = parameter.data.reshape(())
        _gather_for_good(task, keeps=keeps)
        yield


def _gather_for_good(task: nn.Module, *, keeps: bool) -> None:
    """Whole weights on the CPU in place of shares, in the processes that keep them."""
    for module in task.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    made: dict[int, nn.Parameter] = {}
    for module in task.modules():
        for name, parameter in list(module._parameters.items()):
            spread: Any = parameter
            if isinstance(spread, DTensor) and id(parameter) not in made:
                share: Any = spread.detach()
                value = share.full_tensor()  # from all processes
                value = value.cpu() if keeps else torch.empty(0)
                made[id(parameter)] = nn.Parameter(value, requires_grad=spread.requires_grad)
            if id(parameter) in made:
                module._parameters[name] = made[id(parameter)]


def _master(parameter: Any) -> torch.Tensor | None:
    """The float32 original of a half-precision weight that DeepSpeed trains, from all processes."""
    if parameter.dtype != torch.bfloat16 or not (
        hasattr(parameter, "_hp_mapping") or hasattr(parameter, "_z3_optimizer")
    ):
        return None
    from deepspeed.utils import safe_get_full_fp32_param

    master: torch.Tensor = safe_get_full_fp32_param(parameter)
    return master.cpu()


@contextmanager
def _gathered_by_deepspeed(parameters: list[Any]) -> Iterator[None]:
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters(parameters):
        for parameter in parameters:
            parameter.ds_active_sub_modules.add(KEPT)  # a forward pass lets go of what nobody uses
        try:
            yield
        finally:
            for parameter in parameters:
                parameter.ds_active_sub_modules.discard(KEPT)
