"""Every number format trains and validates both kinds of model."""

from collections.abc import Callable
from typing import Any

import pytest
from lightning.fabric import Fabric

from maya_train.metrics_log import read_steps
from maya_train.stages import run_chain


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("task", ["acoustic", "speech_llm"])
def test_half_precision_learns_nearly_what_float32_does(
    make_config: Callable[..., Any], precision: Any, task: str, tmp_path: Any
) -> None:
    losses = []
    for name in ("32-true", precision):
        run = make_config(
            task, precision=name, out_dir=str(tmp_path / name), max_steps=2, cache_encoder=False
        )
        run.data.valid_index = run.data.index
        run_chain([run], Fabric(accelerator="cpu", devices=1, precision=name))
        losses.append([line["loss"] for line in read_steps(tmp_path / name / "metrics.jsonl").values()])
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] != losses[0]
