"""Heads and the language prompt by config: any head trains that the config has, with the weight it gives."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from omegaconf import DictConfig, OmegaConf

import maya_encoder
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.tdt import TDTConfig
from maya_train.build import build_task
from maya_train.compose import compose
from maya_train.errors import ConfigError
from maya_train.schema import LanguagePromptConfig, RunConfig
from maya_train.sources import TrainingData, audio_batches
from maya_train.stages import run_stage
from maya_train.strategies import Capabilities
from maya_train.tasks import Moment

CONFIGS = Path(__file__).parents[2] / "configs"
TDT = (
    "heads.rnnt=null",
    "heads.tdt.name=tdt",
    "train=[encoder,ctc,tdt]",
    "lr.tdt=1e-3",
    "loss.tdt=0.7",
)

Make = Callable[..., RunConfig]


@pytest.fixture
def make_tdt(make_config: Make) -> Make:
    """A config with the heads ctc and tdt and a language prompt; keyword arguments replace its keys."""

    def make(**changes: Any) -> RunConfig:
        own: dict[str, Any] = {
            "heads": {
                "ctc": CTCConfig(),
                "tdt": TDTConfig(prediction="stateless", prediction_size=8, joint_size=8),
            },
            "train": ["encoder", "language_prompt", "ctc", "tdt"],
            "lr": dict.fromkeys(("encoder", "language_prompt", "ctc", "tdt"), 1e-3),
            "loss": {"ctc": 0.25, "tdt": 2.0},
            "language_prompt": LanguagePromptConfig(num_prompts=4),
        }
        return make_config(**{**own, **changes})

    return make


def first_loss(fabric: Fabric, cfg: RunConfig, step: int = 0) -> tuple[Any, Any]:
    data = TrainingData.open(cfg)
    task, _ = build_task(fabric, cfg, data, lambda text: None)
    task.set_modes()
    return task, task(task.prepare(next(audio_batches(fabric, cfg, data, 0))), Moment(step, cfg.max_steps))


def test_a_tdt_head_and_a_language_prompt_learn_and_are_saved(
    fabric: Fabric, make_tdt: Make, tmp_path: Path
) -> None:
    cfg = make_tdt()
    fresh, _ = build_task(fabric, cfg, TrainingData.open(cfg), lambda text: None)
    run_stage(cfg, fabric, Capabilities())
    model = maya_encoder.load(tmp_path / "acoustic" / "model")
    lines = [json.loads(line) for line in (tmp_path / "acoustic" / "metrics.jsonl").read_text().splitlines()]

    assert list(model.heads) == ["ctc", "tdt"]
    assert model.prompt is not None
    assert model.prompt.num_prompts == 4
    assert lines[-1]["tdt"] > 0
    for part in ("encoder", "prompt", "heads"):
        assert (
            fresh.model.get_submodule(part).state_dict().keys()
            == model.get_submodule(part).state_dict().keys()
        )


def test_the_sum_has_each_head_with_its_weight(fabric: Fabric, make_tdt: Make) -> None:
    task, loss = first_loss(fabric, make_tdt())
    loss.loss_sum.backward()

    torch.testing.assert_close(loss.loss_sum.detach(), 0.25 * loss.parts["ctc"] + 2 * loss.parts["tdt"])
    for name in ("encoder", "prompt", "heads.ctc", "heads.tdt"):
        assert any(
            p.grad is not None and p.grad.any() for p in task.model.get_submodule(name).parameters()
        ), name


def test_any_head_can_enter_late(fabric: Fabric, make_tdt: Make) -> None:
    cfg = make_tdt(loss={"ctc": 1.0, "tdt": 1.0, "ctc_from": 0.5})
    task, early = first_loss(fabric, cfg, step=1)
    late = first_loss(fabric, cfg, step=2)[1]

    assert task.begins(4) == {"ctc": 2, "tdt": 0}
    assert task.scored(Moment(1, 4)) == ["tdt"]
    assert early.parts["ctc"] == 0
    assert late.parts["ctc"] > 0


def test_a_prompt_can_be_added_to_a_trained_model(fabric: Fabric, make_tdt: Make, tmp_path: Path) -> None:
    plain = make_tdt(
        language_prompt=None, train=["encoder", "ctc", "tdt"], out_dir=str(tmp_path / "plain"), max_steps=1
    )
    run_stage(plain, fabric, Capabilities())
    before = maya_encoder.load(tmp_path / "plain" / "model")
    cfg = make_tdt(train=["language_prompt"], init_from=str(tmp_path / "plain" / "model"))
    task, loss = first_loss(fabric, cfg)
    loss.loss_sum.backward()

    assert torch.equal(task.model.heads["tdt"].joint.enc.weight, before.heads["tdt"].joint.enc.weight)
    learning = {name.split(".")[0] for name, p in task.model.named_parameters() if p.grad is not None}
    assert learning == {"prompt"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"loss": {"ctc": 1.0}}, "`loss` has no weight for the head 'tdt'; add loss.tdt="),
        ({"loss": {"ctc": 1.0, "tdt": 0.0}}, "`loss.tdt` is 0, but this stage trains tdt; give it a weight"),
        (
            {"loss": {"ctc": 1.0, "tdt": 1.0, "tdtt": 1.0}},
            "`loss` weighs 'tdtt', but the heads are ctc, tdt. Did you mean 'tdt'?",
        ),
        ({"loss": {"ctc": 1.0, "tdt": -1.0}}, "`loss.tdt` must be 0 or more, got -1.0"),
        (
            {"loss": {"ctc": 1.0, "tdt": 1.0, "tdt_from": 2.0}},
            "`loss.tdt_from` must be between 0 and 1, got 2.0",
        ),
        ({"train": ["ctc", "rnnt"]}, "`train` names 'rnnt', but `heads` has only ctc, tdt"),
        ({"language_prompt": None}, "`train` names 'language_prompt', but `language_prompt` is null"),
        ({"train": ["encoder", "ctc"]}, "`language_prompt` has fresh weights, but `train` does not name it"),
    ],
)
def test_a_head_without_sense_is_one_sentence(make_tdt: Make, changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}"):
        make_tdt(**changes)


def test_no_weight_at_all_is_refused(fabric: Fabric, make_tdt: Make) -> None:
    cfg = make_tdt(train=["encoder", "language_prompt"], loss={"ctc": 0.0, "tdt": 0.0})
    with pytest.raises(ConfigError, match="no loss is left: `loss` weighs no head of this model"):
        build_task(fabric, cfg, TrainingData.open(cfg), lambda text: None)


def test_the_encoder_stage_takes_other_heads_from_the_command_line() -> None:
    run = compose(
        [
            "stage=encoder",
            "recipe=demo",
            *TDT,
            "language_prompt.num_prompts=16",
            "train=[encoder,language_prompt,ctc,tdt]",
            "lr.language_prompt=1e-3",
        ],
        CONFIGS,
    )[0]

    assert list(run.heads) == ["ctc", "tdt"]
    assert run.loss == {"ctc": 1.0, "tdt": 0.7}  # what was said of rnnt is gone with it
    assert run.lr.keys() == {"encoder", "language_prompt", "ctc", "tdt"}
    assert run.language_prompt == LanguagePromptConfig(num_prompts=16)


def test_a_head_that_nobody_weighs_is_named_with_its_stage() -> None:
    with pytest.raises(ConfigError, match="stage encoder: `loss` has no weight for the head 'tdt'; add"):
        compose(["stage=encoder", *TDT[:-1]], CONFIGS)


def test_the_heads_of_the_readme_are_a_stage() -> None:
    text = (CONFIGS.parent / "packages" / "maya-train" / "README.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    shown = OmegaConf.create(next(block for block in blocks if "tdt" in block))
    assert isinstance(shown, DictConfig)
    overrides = [f"{key}={json.dumps(value)}" for key, value in OmegaConf.to_container(shown).items()]
    run = compose(["stage=encoder", *overrides], CONFIGS)[0]

    assert run.train == ["encoder", "language_prompt", "ctc", "tdt"]
    assert run.loss == {"ctc": 0.3, "tdt": 0.7, "tdt_from": 0.0}
    assert run.lr.keys() == set(run.train)
