import re
from functools import cache
from pathlib import Path

import pytest

from maya_train.compose import compose
from maya_train.errors import LaunchError
from maya_train.layers import load_file
from maya_train.schema import InitConfig, SelectConfig
from maya_train.stage_files import check_files

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.stem for path in (CONFIGS / "recipe").glob("*.yaml"))
GROUPS = ("reader", "encoder", "projector", "llm", "strategy")
FILES = sorted(
    f"{path.parent.name}={path.stem}" for group in GROUPS for path in (CONFIGS / group).glob("*.yaml")
)
TWELVE = ["as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te"]


@cache
def stages(*overrides: str):
    return {run.stage: run for run in compose(overrides, CONFIGS)}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes(recipe):
    runs = stages(f"recipe={recipe}")
    assert list(runs) == next(iter(runs.values())).stages


@pytest.mark.parametrize("choice", FILES)
def test_every_group_file_composes(choice):
    group, _, file = choice.partition("=")
    (run,) = compose(["stage=joint", choice], CONFIGS)
    chosen = load_file(CONFIGS / group / f"{file}.yaml")
    slot = getattr(run, group)
    assert slot is None or "name" not in chosen or slot.name == chosen.name


def test_every_stage_file_is_used_by_a_recipe():
    used = {stage for recipe in RECIPES for stage in load_file(CONFIGS / "recipe" / f"{recipe}.yaml").stages}
    assert used == {path.stem for path in (CONFIGS / "stage").glob("*.yaml")}


def test_no_config_holds_an_absolute_path():
    for path in CONFIGS.rglob("*.yaml"):
        values = "\n".join(
            line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")
        )
        assert not re.search(r"[:\[ \"']/\w", values), path


def test_the_full_recipe_is_the_default_and_has_the_guide_s_figures(monkeypatch):
    monkeypatch.delenv("MAYA_DATA", raising=False)
    monkeypatch.delenv("MAYA_INIT", raising=False)
    runs = stages("recipe=maya_8xh100")
    assert list(runs) == ["init", "encoder", "align", "joint", "polish"]
    trained = list(runs.values())[1:]
    assert [run.max_steps for run in trained] == [200_000, 20_000, 150_000, 20_000]
    assert [Path(run.init_from).parent.name for run in trained] == ["init", "encoder", "align", "joint"]
    assert runs["init"].init == InitConfig(path=None, include=["encoder"])
    assert runs["polish"].select == SelectConfig(share=0.1)
    assert {run.data.valid_llm for run in trained} == {20}
    assert {(run.accelerator, run.precision, run.grad_accum) for run in runs.values()} == {
        ("cuda", "bf16-mixed", 4)
    }
    assert (runs["encoder"].encoder.num_layers, runs["encoder"].encoder.hidden_size) == (32, 1024)
    assert runs["encoder"].encoder.subsampling_factor == 8
    assert runs["encoder"].lr == {"encoder": 1e-3, "ctc": 1e-3, "rnnt": 1e-3}
    assert (runs["encoder"].optim.warmup_steps, runs["encoder"].valid_every) == (5_000, 5_000)
    assert runs["align"].train == ["projector"]
    assert runs["joint"].lr == {"projector": 1e-4, "llm": 1e-5}
    assert {name: rate * 10 for name, rate in runs["polish"].lr.items()} == pytest.approx(runs["joint"].lr)
    assert runs["encoder"].langs == TWELVE
    assert compose(["stage=encoder"], CONFIGS)[0].reader.root is None
    assert load_file(CONFIGS / "config.yaml").defaults.recipe == "maya_8xh100"


def test_the_data_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("MAYA_DATA", "/somewhere")
    assert stages("stage=encoder", "seed=0")["encoder"].reader.root == "/somewhere"


@pytest.mark.parametrize(("recipe", "langs"), [("demo", TWELVE), ("demo_quick", ["en", "hi", "ta"])])
def test_the_demos_take_one_path_on_the_cpu_under_their_own_folder(recipe, langs):
    runs = stages(f"recipe={recipe}")
    assert list(runs) == ["llm", "encoder", "align", "joint", "polish"]
    for run in runs.values():
        assert (run.accelerator, run.langs) == ("cpu", langs)
        assert run.data.index == f"runs/{recipe}/index/train"
        assert run.data.valid_index == f"runs/{recipe}/index/valid"
        assert run.tokenizer == f"runs/{recipe}/tokenizer"
    assert runs["encoder"].reader.root == f"runs/{recipe}/data/train"
    assert runs["llm"].llm.source == "tiny"
    assert runs["align"].llm.path == f"runs/{recipe}/llm/model"


def test_the_demos_do_the_same_in_all_stages_but_their_length():
    quick, full = stages("recipe=demo_quick"), stages("recipe=demo")
    assert {run.save_every for run in quick.values()} == {5}
    assert {run.select for run in (*quick.values(), *full.values())} == {None}
    for stage, run in quick.items():
        assert run.max_steps < full[stage].max_steps
        for key in ("task", "train", "lr", "encoder", "heads", "projector", "prompt", "corruption"):
            assert getattr(run, key) == getattr(full[stage], key), f"{stage}.{key}"
        assert [run.loss.get(head) for head in run.heads] == [
            full[stage].loss.get(head) for head in run.heads
        ]


def test_a_real_llm_can_take_the_place_of_the_demo_s():
    run = stages("recipe=demo", "stage=align", "llm=gemma3_270m")["align"]
    assert (run.llm.source, run.llm.path) == ("gguf", "runs/demo/gemma3_270m")


def test_the_demo_of_the_real_gemma_hears_as_the_demo_does_and_makes_no_llm():
    gemma, demo = stages("recipe=demo_gemma3_270m"), stages("recipe=demo")
    assert list(gemma) == ["encoder", "align", "joint", "polish"]
    for key in ("lr", "frontend", "encoder", "heads", "langs"):
        assert getattr(gemma["encoder"], key) == getattr(demo["encoder"], key), key
    for stage in ("align", "joint", "polish"):
        run = gemma[stage]
        assert (run.llm.source, run.llm.path) == ("gguf", "runs/demo_gemma3_270m/gemma3_270m")
        assert (run.prompt.positions, run.strategy.name, run.data.sync_width) == ("rope", "single", 1)
    rates = {name: rate * 10 for name, rate in gemma["polish"].lr.items()}
    assert rates == pytest.approx(gemma["joint"].lr)


def test_the_full_recipe_names_its_vocabulary():
    runs = compose(["recipe=maya_8xh100"])
    assert {run.vocab_size for run in runs} == {8192}


def test_a_language_is_added_with_the_older_model_as_teacher(monkeypatch):
    monkeypatch.setenv("MAYA_INIT", "old/model")
    runs = {run.stage: run for run in compose(["recipe=add_language"], CONFIGS)}
    assert (runs["init"].init.path, runs["init"].init.include) == ("old/model", ["encoder", "heads"])
    assert (runs["encoder"].distill.teacher, runs["encoder"].optim.schedule) == ("old/model", "wsd")
    monkeypatch.delenv("MAYA_INIT")
    with pytest.raises(LaunchError, match=r"stage encoder: no value given for distill\.teacher"):
        check_files(compose(["recipe=add_language"], CONFIGS)[1:])
