"""What stages do beside plain training: thaw a part of the encoder, learn from an older model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from tests.train.ctc_stage import CTC_ONLY, weights

from maya_bridge.lora import lora_layers
from maya_encoder import checkpoint
from maya_train.build import build_acoustic, build_task
from maya_train.compose import compose
from maya_train.schema import (
    DistillConfig,
    EncoderLoraConfig,
    InitConfig,
    RunConfig,
    SelectConfig,
)
from maya_train.sources import TrainingData, audio_batches
from maya_train.stages import run_chain
from maya_train.tasks import Moment
from maya_train.tasks.encoder_part import add_encoder_lora, folded

CONFIGS = Path(__file__).parents[2] / "configs"
Make = Callable[..., RunConfig]


def deeper(cfg: RunConfig, layers: int) -> Any:
    return replace(cfg.encoder, num_layers=layers)


def frozen(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor], prefix: str) -> list[bool]:
    return [torch.equal(old[name], new[name]) for name in old if name.startswith(prefix)]


def test_top_layers_learn_with_ctc_beside_the_llm(
    fabric: Fabric, make_config: Make, trained: RunConfig
) -> None:
    base = make_config("acoustic", **CTC_ONLY, encoder=deeper(trained, 2))
    checkpoint.save(build_acoustic(base), f"{base.out_dir}/model")
    rates = dict.fromkeys(("encoder", "ctc", "projector"), 1e-2)
    cfg = make_config(
        "speech_llm",
        encoder=base.encoder,
        heads=base.heads,
        init_from=f"{base.out_dir}/model",
        train=list(rates),
        lr=rates,
        encoder_top_layers=1,
        ctc_weight=0.5,
        cache_encoder=False,
        max_steps=2,
    )
    cfg.data.valid_index, cfg.data.valid_llm = cfg.data.index, 1

    run_chain([cfg], fabric)

    old, new = weights(base), weights(cfg)
    assert all(frozen(old, new, "encoder.layers.0."))
    assert all(frozen(old, new, "encoder.pre_encode."))
    assert not any(frozen(old, new, "encoder.layers.1.feed_forward1.linear1."))
    assert not any(frozen(old, new, "encoder.layers.1.conv.batch_norm.running_mean"))
    assert not any(frozen(old, new, "heads.ctc."))
    lines = (Path(cfg.out_dir) / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["ctc"] > 0
    scores = json.loads((Path(cfg.out_dir) / "validation.jsonl").read_text().splitlines()[-1])
    assert set(scores["wer"]) == {"ctc", "llm"}


def test_lora_learns_on_the_attention_and_is_folded_in(
    fabric: Fabric, make_config: Make, trained: RunConfig
) -> None:
    pytest.importorskip("peft")
    rates = {"encoder": 1e-2, "ctc": 1e-2}
    cfg = make_config(
        "acoustic",
        **CTC_ONLY | {"lr": rates},
        encoder=replace(trained.encoder, activation_checkpointing=True),
        init_from=f"{trained.out_dir}/model",
        encoder_lora=EncoderLoraConfig(rank=2, dropout=0.5),
        max_steps=2,
    )

    task, _ = build_task(fabric, cfg, TrainingData.open(cfg), lambda text: None)
    task.set_modes()
    names = {name.rpartition(".")[2] for name, _ in lora_layers(task.model.encoder)}
    assert names == {"linear_q", "linear_k", "linear_v", "linear_out"}
    modes = {name: module.training for name, module in task.model.encoder.named_modules()}
    assert not modes["layers.0.conv.batch_norm"]
    assert modes["layers.0.self_attn.linear_q.lora_dropout.default"]
    run_chain([cfg], fabric)

    old, new = weights(trained), weights(cfg)
    assert old.keys() == new.keys()
    assert not any(frozen(old, new, "encoder.layers.0.self_attn.linear_q.weight"))
    for part in ("feed_forward1", "conv", "self_attn.pos_bias_u", "self_attn.linear_pos"):
        assert all(frozen(old, new, f"encoder.layers.0.{part}")), part


def test_folding_keeps_the_output_and_leaves_the_lora(make_config: Make, trained: RunConfig) -> None:
    pytest.importorskip("peft")
    encoder = build_acoustic(trained).encoder
    add_encoder_lora(encoder, 2, 4.0, 0.0, ["linear_q", "linear_out"])
    for _, layer in lora_layers(encoder):
        torch.nn.init.normal_(layer.lora_B["default"].weight)
    encoder.eval()
    features = torch.randn(1, 40, 80), torch.tensor([40]), torch.tensor([0])
    before = encoder(*features)[0]
    with folded(encoder):
        assert not list(lora_layers(encoder))
        torch.testing.assert_close(encoder(*features)[0], before, atol=1e-5, rtol=1e-4)
    assert len(list(lora_layers(encoder))) == 2
    torch.testing.assert_close(encoder(*features)[0], before)


def lesson(fabric: Fabric, cfg: RunConfig) -> Any:
    data = TrainingData.open(cfg)
    task, _ = build_task(fabric, cfg, data, lambda text: None)
    task.set_modes()
    batch = next(audio_batches(fabric, cfg, data, 0))
    return task, task(task.prepare(batch), Moment(0, 4)), batch


def test_an_older_model_teaches_the_languages_that_it_knows(
    fabric: Fabric, make_config: Make, trained: RunConfig
) -> None:
    still = replace(trained.encoder, dropout=0.0)
    keys = {**CTC_ONLY, "encoder": still, "init_from": f"{trained.out_dir}/model"}
    distill = DistillConfig(teacher=f"{trained.out_dir}/model", temperature=3.0, weight=2.0)
    task, same, _ = lesson(fabric, make_config(**keys, distill=distill))
    task.teacher.eval()
    task.model.eval()  # with the statistics of the teacher, the pupil says what it says
    assert same.parts["distill"] >= 0
    other, found, batch = lesson(
        fabric, make_config(**{**keys, "init_from": None, "seed": 3}, distill=distill)
    )
    plain = found.loss_sum - 2.0 * found.parts["distill"]
    assert plain.item() == pytest.approx(found.parts["ctc"].item(), rel=1e-5)
    other.model.eval()
    work = other.prepare(batch)
    assert other(work, Moment(0, 4)).parts["distill"] > task(work, Moment(0, 4)).parts["distill"]
    assert task(work, Moment(0, 4)).parts["distill"] == pytest.approx(0.0, abs=1e-4)
    assert not any(parameter.requires_grad for parameter in other.teacher.parameters())
    other.teacher.model.langs = ()
    assert other(work, Moment(0, 4)).parts["distill"] == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"init": InitConfig()}, "`init` is read by the task init alone"),
        ({"select": SelectConfig()}, "`select` needs a model that scores"),
        ({"distill": DistillConfig(), "train": ["rnnt"]}, "`distill` changes nothing: `train` names neither"),
        ({"encoder_top_layers": 9}, "`encoder_top_layers` must be at most the encoder's 1, got 9"),
        ({"encoder_top_layers": 0}, "`encoder_top_layers` must be 1 or more"),
        ({"encoder_top_layers": 1, "encoder_lora": EncoderLoraConfig()}, "one way to train a part"),
        ({"ctc_weight": 0.3}, "`ctc_weight` is for the task speech_llm, for acoustic it is loss.ctc"),
        ({"encoder_lora": EncoderLoraConfig(), "train": ["ctc", "rnnt"]}, "but `train` does not name it"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(
    make_config: Make, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_config("acoustic", **keys)


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        (InitConfig, {"path": "x", "include": []}, "`include` must name what is taken"),
        (SelectConfig, {"share": 0.0}, "`share` must be above 0 and at most 1, got 0.0"),
        (DistillConfig, {"teacher": "x", "temperature": 0.0}, "`temperature` must be above 0"),
        (EncoderLoraConfig, {"rank": 0}, "`rank` must be 1 or more"),
    ],
)
def test_impossible_numbers_are_refused(kind: Any, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**keys)


def test_ctc_beside_the_llm_must_change_something(make_config: Make) -> None:
    with pytest.raises(ValueError, match="`ctc_weight` changes nothing"):
        make_config("speech_llm", ctc_weight=0.3)
    rates = {"ctc": 1e-3, "projector": 1e-3}
    with pytest.raises(ValueError, match="`train` names ctc, which learns by `ctc_weight` alone"):
        make_config("speech_llm", train=list(rates), lr=rates)


def test_the_encoder_s_part_in_joint_comes_from_the_command_line() -> None:
    (lora,) = compose(
        ["stage=joint", "train=[encoder,projector,llm]", "lr.encoder=1e-4", "encoder_lora.rank=8"], CONFIGS
    )
    assert lora.encoder_lora == EncoderLoraConfig(rank=8)
    top = ["train=[encoder,ctc,projector,llm]", "lr.encoder=1e-5", "lr.ctc=1e-5", "encoder_top_layers=4"]
    (top_run,) = compose(["stage=joint", *top, "ctc_weight=0.3"], CONFIGS)
    assert (top_run.encoder_top_layers, top_run.ctc_weight) == (4, 0.3)
