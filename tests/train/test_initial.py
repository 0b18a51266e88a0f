"""How a chain begins: a checkpoint opened and grown, a language more."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from tests.train.ctc_stage import CTC_ONLY, weights

import maya_encoder
from maya_encoder import checkpoint
from maya_encoder.tokenizer import Tokenizer
from maya_train.build import build_acoustic
from maya_train.errors import ConfigError
from maya_train.schema import (
    DataConfig,
    DistillConfig,
    InitConfig,
    RunConfig,
)
from maya_train.stages import run_chain, run_stage
from maya_train.strategies import Capabilities

CONFIGS = Path(__file__).parents[2] / "configs"
Make = Callable[..., RunConfig]


@pytest.fixture
def make_init(make_config: Make) -> Make:
    def make(**keys: Any) -> RunConfig:
        settings = InitConfig(**{key: keys.pop(key) for key in ("path", "include", "exclude") if key in keys})
        nothing = {"train": [], "lr": {}, "cache_encoder": False, "corruption": None}
        return make_config("init", **{**CTC_ONLY, **nothing, "init": settings, **keys})

    return make


def deeper(cfg: RunConfig, layers: int) -> Any:
    return replace(cfg.encoder, num_layers=layers)


def test_a_chain_begins_with_a_checkpoint_that_grows(
    fabric: Fabric, make_init: Make, make_config: Make, trained: RunConfig, capsys: Any
) -> None:
    init = make_init(path=f"{trained.out_dir}/model", encoder=deeper(trained, 3))
    encoder = make_config(
        "acoustic", **CTC_ONLY, encoder=init.encoder, init_from=f"{init.out_dir}/model", max_steps=1
    )

    run_chain([init, encoder], fabric)

    old, new = weights(trained), weights(init)
    model = maya_encoder.load(f"{init.out_dir}/model").eval()
    wave = torch.randint(-9999, 9999, (1, 16_000), dtype=torch.int16)
    before = maya_encoder.load(f"{trained.out_dir}/model").eval().encode(wave, torch.tensor([16_000]), ["hi"])
    after = model.encode(wave, torch.tensor([16_000]), ["hi"])
    assert model.config.encoder.num_layers == 3
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
    assert torch.equal(old["encoder.lang_embedding.weight"], new["encoder.lang_embedding.weight"])
    assert not torch.equal(old["heads.ctc.decoder_layers.0.weight"], new["heads.ctc.decoder_layers.0.weight"])
    assert "1 layers grow to 3 (interpolate)" in capsys.readouterr().err
    assert json.loads((Path(encoder.out_dir) / "DONE").read_text())["steps"] == 1

    assert run_chain([init, encoder], fabric) == [None, None]  # both are finished
    init.max_steps, init.data.batch_duration = 7, 1.0
    assert run_stage(init, fabric, Capabilities()) is None  # it depends on neither


def test_without_a_checkpoint_a_chain_begins_with_fresh_weights(
    fabric: Fabric, make_init: Make, capsys: Any
) -> None:
    init = make_init()
    run_chain([init], fabric)
    assert "init.path is null: the encoder begins with fresh weights" in capsys.readouterr().err
    assert (Path(init.out_dir) / "model" / "model.safetensors").is_file()


def test_what_does_not_fit_the_encoder_is_named(fabric: Fabric, make_init: Make, trained: RunConfig) -> None:
    path = f"{trained.out_dir}/model"
    biased = replace(trained.encoder, use_bias=True)
    for keys, message in (
        ({"encoder": replace(trained.encoder, hidden_size=32)}, r"encoder\..* is \[.*\] where the model has"),
        ({"include": ["decoder"]}, "has a tensor below 'decoder'"),
        ({"encoder": biased, "path": path, "include": ["encoder"]}, ""),
    ):
        cfg = make_init(**{"path": path, **keys})
        if message:
            with pytest.raises(ConfigError, match=f"stage init: .*{message}"):
                run_chain([cfg], fabric)
    wide = make_init(path=path, encoder=biased)
    run_chain([wide], fabric)  # biases are fresh where the checkpoint has none
    narrow = make_init(path=f"{wide.out_dir}/model", out_dir=f"{wide.run_dir}/narrow")
    with pytest.raises(ConfigError, match=r"no place: .*bias.*init\.exclude"):
        run_chain([narrow], fabric)
    deep = make_init(path=f"{wide.out_dir}/model", out_dir=f"{wide.run_dir}/deep")
    deep.encoder = replace(biased, num_layers=2)
    run_chain([deep], fabric)
    shallow = make_init(path=f"{deep.out_dir}/model", encoder=biased, out_dir=f"{wide.run_dir}/shallow")
    with pytest.raises(ConfigError, match=r"has 2 layers, more than encoder\.num_layers=1"):
        run_chain([shallow], fabric)


def test_a_language_more_keeps_what_the_model_knew(
    fabric: Fabric, make_config: Make, make_init: Make, corpus: Path, tmp_path: Path
) -> None:
    """A tokenizer with a model a language: `ta` comes later, with its own pieces, between the others."""
    spm = next((corpus / "tokenizer").glob("*.model")).read_bytes()
    Tokenizer({"hi": spm, "en": spm}, "common").save(tmp_path / "two")
    Tokenizer({"hi": spm, "en": spm, "ta": spm}, "common").save(tmp_path / "three")
    data = DataConfig(index=str(corpus / "index"), valid_index=None, batch_duration=2.0, langs=["en", "hi"])
    two = {"tokenizer": str(tmp_path / "two"), "langs": ["hi", "en"], "data": data}
    old = make_config("acoustic", **two, stage="two", out_dir=str(tmp_path / "old"))
    checkpoint.save(build_acoustic(old), f"{old.out_dir}/model")
    three = {"tokenizer": str(tmp_path / "three"), "langs": ["en", "ta", "hi"], "heads": old.heads}
    init = make_init(path=f"{old.out_dir}/model", include=["encoder", "heads"], **three)
    adapt = make_config(
        "acoustic",
        **three,
        init_from=f"{init.out_dir}/model",
        distill=DistillConfig(teacher=f"{old.out_dir}/model"),
        max_steps=2,
    )

    run_chain([init], fabric)

    before, after = weights(old), weights(init)
    embedding = "encoder.lang_embedding.weight"
    assert torch.equal(after[embedding][[2, 0]], before[embedding])
    pieces = Tokenizer.load(tmp_path / "two").vocab_size
    for name in ("heads.ctc.decoder_layers.0.bias", "heads.rnnt.prediction.embed.weight"):
        assert torch.equal(after[name][:pieces], before[name][:pieces])
        assert torch.equal(after[name][-1], before[name][-1])  # the blank
        assert len(after[name]) > len(before[name])
    run_chain([adapt], fabric)
    assert json.loads((Path(adapt.out_dir) / "metrics.jsonl").read_text().splitlines()[-1])["distill"] > 0
