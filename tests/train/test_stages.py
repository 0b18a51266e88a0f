"""A chain of stages over the tiny corpus, through all packages."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.fabric import Fabric

import maya_bridge
from maya_train import stages
from maya_train.errors import ConfigError, LaunchError
from maya_train.locks import only_writer
from maya_train.loop import Trainer
from maya_train.metrics_log import read_steps
from maya_train.schema import RunConfig
from maya_train.stages import run_chain

Make = Callable[..., RunConfig]


class Killed(BaseException):
    pass


@pytest.fixture
def chain(make_config: Make, corpus: Path) -> list[RunConfig]:
    """Encoder, warm-up of the LLM, and both together."""
    encoder = make_config("acoustic")
    encoder.data.valid_index = str(corpus / "index")
    llm = make_config("text_copy")
    speech = make_config("speech_llm", init_from=f"{encoder.out_dir}/model", data=encoder.data)
    speech.llm = replace(speech.llm, source="folder", path=f"{llm.out_dir}/model")
    return [encoder, llm, speech]


def lines(cfg: RunConfig) -> dict[int, dict[str, Any]]:
    found = read_steps(Path(cfg.out_dir) / "metrics.jsonl")
    return {step: {k: v for k, v in line.items() if k != "time"} for step, line in found.items()}


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """The process dies once `steps` lines of any stage are written."""
    after_step, left = Trainer._after_step, [steps]

    def die(self: Trainer, progress: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        after_step(self, progress)

    monkeypatch.setattr(Trainer, "_after_step", die)


def test_chain_leaves_models_metrics_and_configs(fabric: Fabric, chain: list[RunConfig]) -> None:
    run_chain(chain, fabric)

    for cfg in chain:
        out_dir = Path(cfg.out_dir)
        assert sorted(lines(cfg)) == [1, 2, 3, 4]
        assert json.loads((out_dir / "DONE").read_text())["steps"] == 4
        assert (out_dir / "config.yaml").is_file()
    last = (Path(chain[2].out_dir) / "validation.jsonl").read_text().splitlines()[-1]
    scores = json.loads(last)
    assert (scores["step"], scores["utterances"], list(scores["wer"]["llm"])) == (4, 18, ["en", "hi", "ta"])
    model = maya_bridge.load(f"{chain[2].out_dir}/model")
    assert model.llm_tokenizer.script == "common"


def test_chain_killed_in_each_stage_gives_the_same_losses(
    fabric: Fabric, chain: list[RunConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_chain(chain, fabric)
    whole = [lines(cfg) for cfg in chain]
    for cfg in chain:
        Path(cfg.out_dir).rename(tmp_path / f"first-{cfg.stage}")

    for _ in range(4):
        with monkeypatch.context() as patch:
            kill_after(patch, 3)
            with pytest.raises(Killed):
                run_chain(chain, fabric)
    run_chain(chain, fabric)

    assert [lines(cfg) for cfg in chain] == whole


def test_time_of_a_stage_adds_up_over_its_starts(
    fabric: Fabric, chain: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_build(*arguments: Any) -> Any:
        time.sleep(1)
        return build_task(*arguments)

    build_task = stages.build_task
    with monkeypatch.context() as patch:
        patch.setattr(stages, "build_task", slow_build)
        kill_after(patch, 3)
        with pytest.raises(Killed):
            run_chain(chain[:1], fabric)
    started = time.perf_counter()
    run_chain(chain[:1], fabric)
    second = time.perf_counter() - started

    done = json.loads((Path(chain[0].out_dir) / "DONE").read_text())
    assert done["wall_seconds"] > second + 0.8


def test_stage_that_another_run_writes_is_refused(fabric: Fabric, chain: list[RunConfig]) -> None:
    out_dir = Path(chain[0].out_dir)
    with only_writer(out_dir), pytest.raises(LaunchError, match=f"{out_dir} is being written by another run"):
        run_chain(chain[:1], fabric)


def test_finished_stage_is_not_trained_again(
    fabric: Fabric, chain: list[RunConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    run_chain(chain[:1], fabric)
    before = (Path(chain[0].out_dir) / "metrics.jsonl").read_bytes()
    capsys.readouterr()

    assert run_chain(chain[:1], fabric) == [None]
    assert "acoustic: finished before" in capsys.readouterr().err
    assert (Path(chain[0].out_dir) / "metrics.jsonl").read_bytes() == before


def test_a_torn_mark_or_a_lost_model_is_no_finished_stage(
    fabric: Fabric, chain: list[RunConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    out_dir = Path(chain[0].out_dir)
    run_chain(chain[:1], fabric)
    whole = (out_dir / "model" / "model.safetensors").read_bytes()
    for damage in (lambda: (out_dir / "DONE").write_text(""), lambda: shutil.rmtree(out_dir / "model")):
        damage()
        run_chain(chain[:1], fabric)
        assert (out_dir / "model" / "model.safetensors").read_bytes() == whole
        assert json.loads((out_dir / "DONE").read_text())["steps"] == chain[0].max_steps
    assert "finished before" not in capsys.readouterr().err


def test_changed_config_in_a_finished_folder_is_named(fabric: Fabric, chain: list[RunConfig]) -> None:
    run_chain(chain[:1], fabric)

    with pytest.raises(
        ConfigError, match=r"acoustic holds a finished run of another kind \(max_steps was 4, is 5\)"
    ):
        run_chain([replace(chain[0], max_steps=5)], fabric)


def test_saving_more_often_or_without_validation_is_no_other_run(
    fabric: Fabric, chain: list[RunConfig]
) -> None:
    run_chain(chain[:1], fabric)
    same = replace(chain[0], save_every=1, data=replace(chain[0].data, num_workers=1, valid_index=None))

    assert run_chain([same], fabric) == [None]


def test_stage_after_a_retrained_one_does_not_pass_for_finished(
    fabric: Fabric, chain: list[RunConfig], tmp_path: Path
) -> None:
    run_chain(chain, fabric)
    Path(chain[0].out_dir).rename(tmp_path / "old")

    with pytest.raises(ConfigError, match="speech_llm holds a finished run of another kind"):
        run_chain([replace(chain[0], seed=1), *chain[1:]], fabric)


def test_model_from_another_recipe_names_a_tensor(fabric: Fabric, chain: list[RunConfig]) -> None:
    run_chain(chain[:1], fabric)
    wider = replace(chain[2], encoder=replace(chain[2].encoder, hidden_size=32))

    with pytest.raises(ConfigError, match=r"stage speech_llm: .* from another recipe.* encoder\."):
        run_chain([wider], fabric)


def test_width_that_processes_do_not_divide_is_refused(fabric: Fabric, chain: list[RunConfig]) -> None:
    fabric._strategy = SimpleNamespace(world_size=3)  # type: ignore[assignment]

    with pytest.raises(ConfigError, match="stage acoustic: `sync_width` must be a multiple"):
        run_chain(chain[:1], fabric)


def test_chain_runs_in_mixed_precision(chain: list[RunConfig]) -> None:
    run_chain(chain, Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))

    assert all(line["loss"] > 0 for cfg in chain for line in lines(cfg).values())
