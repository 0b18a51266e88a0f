from dataclasses import fields, is_dataclass
from datetime import timedelta

import pytest
import torch
from torch import nn

from maya_train.registry import available, lookup
from maya_train.schema import RunConfig
from maya_train.strategies.ddp import DDP
from maya_train.strategies.deepspeed import DeepSpeed
from maya_train.strategies.fsdp import FSDP
from maya_train.strategies.layers import repeated_layers
from maya_train.strategies.single import Single
from maya_train.wrapping import set_up

RUNTIME = {"num_nodes": 1, "precision": "32-true", "grad_clip": 1.0}


@pytest.mark.parametrize("name", sorted(available("strategies")))
def test_every_strategy_is_a_plugin_under_its_own_name(name):
    cls = lookup("strategies", name)
    assert is_dataclass(cls)
    assert fields(cls)[0].name == "name"
    assert cls().name == name
    assert cls().build(num_devices=1, **RUNTIME).strategy == "auto"


def test_single_refuses_more_processes_and_names_the_way_out():
    with pytest.raises(ValueError, match="strategy single is for one process, got 8; choose strategy=ddp"):
        Single().build(num_devices=4, num_nodes=2, precision="32-true", grad_clip=1.0)


def test_ddp_hands_its_fields_to_fabric():
    strategy = DDP(timeout_minutes=5, static_graph=True).build(num_devices=2, **RUNTIME).strategy
    assert strategy._timeout == timedelta(minutes=5)
    assert strategy._ddp_kwargs["static_graph"] is True
    assert strategy._ddp_kwargs["find_unused_parameters"] is False


def test_ddp_leaves_everything_to_the_loop():
    capabilities = DDP().build(num_devices=2, **RUNTIME).capabilities
    assert not any(getattr(capabilities, field.name) for field in fields(capabilities))


def test_ddp_refuses_a_wait_of_nothing():
    with pytest.raises(ValueError, match="`timeout_minutes` must be more than 0, got 0"):
        DDP(timeout_minutes=0)


def capabilities(plugin):
    found = plugin.build(num_devices=2, **RUNTIME).capabilities
    return {field.name for field in fields(found) if getattr(found, field.name)}


def test_fsdp_spreads_weights_and_leaves_clipping_and_accumulation_to_the_loop():
    assert capabilities(FSDP()) == {"sharded"}
    strategy = FSDP(timeout_minutes=5).build(num_devices=4, **RUNTIME | {"num_nodes": 2}).strategy
    assert (strategy._data_parallel_size, strategy._tensor_parallel_size) == (8, 1)
    assert strategy._timeout == timedelta(minutes=5)


def test_deepspeed_owns_clipping_accumulation_and_setup():
    pytest.importorskip("deepspeed")
    assert capabilities(DeepSpeed()) == {
        *("clips_itself", "owns_accumulation", "sharded", "joint_setup", "needs_cuda")
    }


def test_deepspeed_is_told_what_it_would_choose_otherwise():
    config = {"zero_optimization": {"overlap_comm": True}, "wall_clock_breakdown": True}
    found = DeepSpeed(stage=2, config=config).settings(grad_clip=0.0)
    assert found["gradient_clipping"] == 0.0
    assert found["managed_gradient_accumulation"] is False
    assert found["zero_optimization"] == {"stage": 2, "overlap_comm": True}
    assert found["wall_clock_breakdown"] is True
    assert "gradient_accumulation_steps" not in found


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"stage": 4}, "`stage` must be one of 0, 1, 2, 3, got 4"),
        ({"timeout_minutes": 0}, "`timeout_minutes` must be more than 0"),
        ({"config": {"gradient_accumulation_steps": 4}}, "`config` has gradient_accumulation_steps, which"),
        (
            {"config": {"zero_optimization": {"stage": 3}}},
            r"`config` has zero_optimization\.stage; set `stage`",
        ),
    ],
)
def test_deepspeed_refuses_what_contradicts_the_run(keys, error):
    with pytest.raises(ValueError, match=error):
        DeepSpeed(**keys)


def test_deepspeed_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("maya_train.strategies.deepspeed.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r'not installed here; install with: pip install "maya-train\[deepspeed\]"'
    ):
        DeepSpeed().build(num_devices=2, **RUNTIME)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        layers = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(2)])
        self.model = nn.ModuleDict({"encoder": nn.ModuleDict({"layers": layers}), "head": nn.Linear(2, 2)})
        self.register_buffer("window", torch.full((2,), 0.1))
        self.model["front"] = nn.Module()
        self.model["front"].register_buffer("window", torch.full((2,), 0.1))

    def trained(self):
        return {"encoder": self.model["encoder"], "ctc": self.model["head"]}


def run_of(**keys):
    return RunConfig(train=["encoder", "ctc"], lr={"encoder": 0.1, "ctc": 0.1}, **keys)


def test_only_the_repeated_layers_are_gathered_or_compiled_one_by_one(monkeypatch, fabric):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **keys: compiled.append((module, keys)))
    task = Toy()
    layers = list(task.model["encoder"]["layers"])
    assert list(repeated_layers(task)) == layers
    set_up(fabric, run_of(), task, DDP().build(num_devices=1, **RUNTIME).capabilities)
    assert not compiled
    set_up(fabric, run_of(compile=True), task, DDP().build(num_devices=1, **RUNTIME).capabilities)
    assert compiled == [(layer, {"dynamic": True}) for layer in layers]


def test_constants_keep_their_precision_where_weights_lose_it():
    from lightning.fabric import Fabric

    task = Toy()
    bf16 = Fabric(accelerator="cpu", devices=1, precision="bf16-true")
    set_up(bf16, run_of(), task, DDP().build(num_devices=1, **RUNTIME).capabilities)
    assert task.model["head"].weight.dtype == torch.bfloat16
    assert torch.equal(task.model["front"].window, torch.full((2,), 0.1))
