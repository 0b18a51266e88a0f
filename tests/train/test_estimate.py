"""Costs of a recipe: operations, memory, days, against counts that were made by hand."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from maya_encoder.fastconformer import FastConformerConfig
from maya_train.cli import main
from maya_train.commands.plan import default_device, default_devices
from maya_train.compose import compose
from maya_train.errors import ConfigError
from maya_train.estimate import Speech, estimate, find_hardware
from maya_train.estimate_text import tables
from maya_train.flops import FlopCounter
from maya_train.hardware import find_device, peak_of
from maya_train.memory_estimate import state_gib
from maya_train.schema import RunConfig

HEARD = Speech(seconds=10.0, tokens_a_second=5.0, hours=150_000.0)


@pytest.fixture(scope="module")
def runs() -> dict[str, RunConfig]:
    return {run.stage: run for run in compose(["recipe=maya_8xh100"])}


@pytest.fixture(scope="module")
def counters(runs: dict[str, RunConfig]) -> dict[str, FlopCounter]:
    return {stage: FlopCounter.of(run) for stage, run in runs.items()}


@pytest.mark.parametrize(("stage", "gflops"), [("encoder", 80), ("align", 59), ("joint", 79), ("polish", 79)])
def test_operations_of_a_second_of_audio(counters: dict[str, FlopCounter], stage: str, gflops: float) -> None:
    step = counters[stage].step([10.0] * 36, num_tokens=5 * 360)

    assert step / 360 / 1e9 == pytest.approx(gflops, rel=0.02)


def test_encoder_matches_what_torch_counts() -> None:
    """torch's own counter, over the products of one small encoder; its position table is not in ours."""
    from torch.utils.flop_counter import FlopCounterMode

    sizes = {"num_layers": 2, "hidden_size": 64, "num_heads": 4, "subsampling_channels": 16}
    cfg = RunConfig(encoder=FastConformerConfig(**sizes, dropout=0.0), train=[])
    encoder = cfg.encoder.build(80).eval()
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        encoder(torch.randn(2, 800, 80), torch.tensor([800, 800]))
    counter = FlopCounter.of(cfg)
    ours = counter.forward(counter.speech([8.0, 8.0], 0))["encoder"]

    assert ours == pytest.approx(counted.get_total_flops(), rel=0.1)


def test_weights_are_those_of_the_models(counters: dict[str, FlopCounter]) -> None:
    size = counters["joint"].size

    assert size.parameters["encoder"] == pytest.approx(0.81e9, rel=0.01)
    assert size.parameters["llm"] == 999_817_216 or size.parameters["llm"] == pytest.approx(1.0e9, rel=0.01)
    assert size.total == pytest.approx(1.83e9, rel=0.02)


def test_memory_falls_with_what_is_shared_out(counters: dict[str, FlopCounter]) -> None:
    gib = {
        name: state_gib(counters["joint"], name, 8, "bf16-mixed")
        for name in ("ddp", "zero-1", "zero-2", "fsdp")
    }

    assert gib["ddp"] == pytest.approx((4 * 1.84e9 + 12 * 1.006e9) / 2**30, rel=0.02)
    assert gib["ddp"] > gib["zero-1"] > gib["zero-2"]
    assert gib["fsdp"] < gib["ddp"] / 3


def test_days_follow_from_operations_and_mfu(runs: dict[str, RunConfig]) -> None:
    hardware = find_hardware("h100", 8, 0.3, "bf16-mixed")
    plan = estimate(list(runs.values()), hardware, HEARD)
    encoder = plan.stages[0]

    assert encoder.audio_hours_an_hour == pytest.approx(29_600, rel=0.02)
    assert encoder.days == pytest.approx(200_000 * encoder.seconds_a_step / 86_400)
    assert encoder.epochs == pytest.approx(200_000 * encoder.audio_hours_a_step / 150_000)
    assert encoder.loader_cores == pytest.approx(29_600 / 500 * 3600 / 3600, rel=0.35)
    assert encoder.guide_mfu is not None
    assert encoder.guide_mfu[0] < encoder.guide_mfu[1] < 0.15


def test_tables_name_every_stage_and_what_does_not_fit(runs: dict[str, RunConfig]) -> None:
    hardware = find_hardware("l4", 8, 0.3, "bf16-mixed")
    console = Console(width=200, record=True, file=io.StringIO())
    for part in tables(estimate(list(runs.values()), hardware, HEARD)):
        console.print(part)
    shown = console.export_text()

    assert "14 to 19" in shown
    assert "24." in shown or "22." in shown
    assert " *" in shown
    assert all(stage in shown for stage in runs if stage != "init")


def test_plan_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.json"
    assert main(["plan", "recipe=maya_8xh100", "stage=encoder", "--gpus", "16", "--json", str(out)]) == 0

    assert "16 x h100" in capsys.readouterr().out
    assert json.loads(out.read_text())["stages"][0]["stage"] == "encoder"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gpu", "h1000"], "--gpu h1000: not known; known are: cpu"),
        (["--mfu", "30"], "`--mfu` must be above 0 and at most 1, got 30"),
        (["grad_acum=2"], "grad_acum"),
    ],
)
def test_wrong_option_of_plan_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "recipe=maya_8xh100", "stage=encoder", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_recipe_says_what_it_is_for(runs: dict[str, RunConfig]) -> None:
    assert (default_device(runs["encoder"]), default_devices(runs["encoder"])) == ("h100", 8)
    demo = compose(["recipe=demo", "stage=encoder"])[0]
    assert (default_device(demo), default_devices(demo)) == ("cpu", 2)


def test_devices_are_told_apart_by_their_names() -> None:
    names = {"NVIDIA H100 80GB HBM3": "h100", "NVIDIA H100 PCIe": "h100 pcie", "NVIDIA H100 NVL": "h100 nvl"}
    assert {name: find_device(name).name for name in names} == names  # type: ignore[union-attr]
    assert find_device("Radeon") is None
    assert peak_of("cpu", "bf16-mixed") is None
    with pytest.raises(ConfigError, match="not known"):
        find_hardware("tpu", 8, 0.3, "bf16-mixed")
