"""A chain of stages over the tiny corpus, through all packages."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.fabric import Fabric
from maya_train import stages
from maya_train.errors import ConfigError
from maya_train.metrics_log import read_steps
from maya_train.schema import RunConfig
from maya_train.stages import run_chain

Make = Callable[..., RunConfig]


@pytest.fixture
def chain(make_config: Make, corpus: Path) -> list[RunConfig]:
    encoder = make_config("acoustic", data=validated(make_config, corpus))
    llm = make_config("text_copy")
    speech = make_config("speech_llm", init_from=f"{encoder.out_dir}/model", data=encoder.data)
    speech.llm.source, speech.llm.path = "folder", f"{llm.out_dir}/model"
    return [encoder, llm, speech]


def validated(make_config: Make, corpus: Path):
    data = make_config().data
    data.valid_index = str(corpus / "index")
    return data


def test_chain_leaves_models_metrics_and_configs(fabric: Fabric, chain: list[RunConfig]) -> None:
    run_chain(chain, fabric)

    for cfg in chain:
        out_dir = Path(cfg.out_dir)
        assert sorted(read_steps(out_dir / "metrics.jsonl")) == [1, 2, 3, 4]
        assert json.loads((out_dir / "DONE").read_text())["steps"] == 4
        assert (out_dir / "config.yaml").is_file()
        assert (out_dir / "model" / "config.yaml").is_file() or (out_dir / "model" / "config.json").is_file()
