"""Schedules, parameter groups, rates."""

import pytest
from torch import nn

from maya_train.optim import build_optimizer, parameter_groups, schedule, set_rates
from maya_train.schema import OptimConfig


def model() -> dict[str, nn.Module]:
    encoder = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    return {"encoder": encoder, "ctc": nn.Linear(4, 3)}


def test_cosine_rises_and_falls_to_its_floor() -> None:
    settings = OptimConfig(warmup_steps=10, min_lr_ratio=0.1)

    assert schedule(0, 100, settings) == pytest.approx(0.1, abs=1e-3)
    assert schedule(50, 100, settings) == pytest.approx(0.55)
    assert schedule(100, 100, settings) == pytest.approx(0.1)


def test_wsd_stays_flat_and_decays_over_the_last_tenth() -> None:
    settings = OptimConfig(schedule="wsd", min_lr_ratio=0.0)

    assert schedule(89, 100, settings) == 1.0
    assert schedule(95, 100, settings) == pytest.approx(0.5)


def test_module_that_starts_later_warms_up_from_there() -> None:
    settings = OptimConfig(schedule="constant", warmup_steps=4)

    assert [schedule(step, 100, settings, start=10) for step in (9, 10, 13, 14)] == [0.0, 0.25, 1.0, 1.0]


def test_every_trained_parameter_is_in_exactly_one_group() -> None:
    modules = model()
    modules["ctc"].bias.requires_grad_(False)
    groups = parameter_groups(modules, {"encoder": 1.0, "ctc": 2.0}, 0.1)

    found = [id(parameter) for group in groups for parameter in group["params"]]
    wanted = [id(p) for module in modules.values() for p in module.parameters() if p.requires_grad]
    assert sorted(found) == sorted(wanted)


def test_only_matrices_outside_embeddings_decay() -> None:
    modules = model()
    groups = parameter_groups(modules, {"encoder": 1.0, "ctc": 2.0}, 0.1)

    decaying = [parameter for group in groups if group["weight_decay"] for parameter in group["params"]]
    assert [id(parameter) for parameter in decaying] == [
        id(modules["encoder"][1].weight),
        id(modules["ctc"].weight),
    ]


def test_module_without_a_rate_is_named() -> None:
    with pytest.raises(ValueError, match=r"no learning rate for ctc; set lr\.ctc"):
        parameter_groups(model(), {"encoder": 1.0}, 0.1)


def test_rates_are_the_modules_factor_of_their_base() -> None:
    optimizer = build_optimizer(model(), {"encoder": 1.0, "ctc": 2.0}, OptimConfig())

    assert set_rates(optimizer, {"encoder": 0.5, "ctc": 0.25}) == {"encoder": 0.5, "ctc": 0.5}
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
