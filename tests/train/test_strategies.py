from dataclasses import fields, is_dataclass
from datetime import timedelta

import pytest

from maya_train.registry import available, lookup
from maya_train.strategies.ddp import DDP
from maya_train.strategies.single import Single

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
