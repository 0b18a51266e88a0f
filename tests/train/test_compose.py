from dataclasses import replace
from pathlib import Path

import pytest

from maya_train.compose import compose, digest, find_configs, reload, save
from maya_train.errors import ConfigError
from maya_train.layers import load_file
from maya_train.registry import UnknownPlugin

REPO = Path(__file__).parents[2]
CONFIGS = REPO / "configs"


def run(*overrides: str):
    (only,) = compose(overrides, CONFIGS)
    return only


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        (
            ["stage=joint", "projector=qformer", "projector.num_querys=4"],
            "command line: projector.num_querys: Key 'num_querys' not in 'QFormer'. "
            "Did you mean one of: 'num_queries'",
        ),
        (
            ["maxsteps=4"],
            "command line: maxsteps: Key 'maxsteps' not in 'RunConfig'. Did you mean: 'max_steps'?",
        ),
        (
            ["encoder.num_layers=four"],
            "command line: encoder.num_layers: Value 'four' of type 'str' could not be",
        ),
        (
            ["encoder.subsampling=plain"],
            "command line: encoder.subsampling: Invalid value 'plain', "
            "expected one of ['dw_striding', 'striding']",
        ),
        (
            ["projector=perceiver"],
            "projector=perceiver: no such file; configs/projector has: ctc_compress, mlp, qformer",
        ),
        (
            ["projector=qformer", "projector.name=mlp"],
            "projector/qformer.yaml: projector.window: Key 'window' not in 'MLPProjector'",
        ),
        (
            ["projectr=qformer"],
            "command line: projectr: Key 'projectr' not in 'RunConfig'. Did you mean: 'projector'?",
        ),
        (["projector.stride=0"], "projector: `stride` must be 1 or more, got 0"),
        (
            ["data.mix.alfa=1"],
            "command line: data.mix.alfa: Key 'alfa' not in 'MixConfig'. Did you mean: 'alpha'?",
        ),
        (["heads.tdt.x=1"], "heads.tdt: nothing chosen; add heads.tdt.name="),
        (["heads.rnnt=null"], "stage encoder: `train` names 'rnnt', but `heads` has only ctc"),
        (["stage=jont"], "stage=jont: recipe maya_8xh100 has the stages init, encoder, align, joint, polish"),
        (
            ["recipe=demoo"],
            "recipe=demoo: no such file; configs/recipe has: add_language, demo, demo_gemma3_270m,",
        ),
        (["max_steps"], "command line: 'max_steps': expected key=value, for example max_steps=100"),
        (["max_steps=[1"], "command line: 'max_steps=[1': cannot be read as key=value"),
        (["max_steps=0"], "stage init: `max_steps` must be 1 or more, got 0"),
        (
            ["lr.projectr=1"],
            "stage init: `lr` knows the modules encoder, ctc, rnnt, language_prompt, projector, llm, got"
            " 'projectr'",
        ),
        (
            ["stage=align", "train=[llm]"],
            "stage align: `lr` has no rate for 'llm', which this stage trains; add lr.llm=",
        ),
        (
            ["cache_encoder=true"],
            "stage encoder: `cache_encoder` needs a frozen encoder, but this stage trains it",
        ),
        (["recipe="], "command line: recipe=: expected the name of a file of configs/recipe"),
        (["config="], "command line: config=: expected the name of a saved config.yaml"),
        (
            ["langs=[hi,tam]"],
            "stage init: `langs` has 'tam'; the languages are: as, bn, en, gu, hi, kn, ml, mr, or, pa, "
            "ta, te. Did you mean 'ta'?",
        ),
        (["data.langs=[xx]"], "stage init: `data.langs` has 'xx'; the languages are: as, bn,"),
        (
            ["stage=encoder", "projector=qformer"],
            "command line: projector: no stage that runs here reads it (encoder)",
        ),
        (["stage=encoder", "llm.num_layers=2"], "command line: llm: no stage that runs here reads it"),
        (
            ["stage=align", "lr.llm=1e-4"],
            "command line: lr.llm: no stage that runs here trains it (align)",
        ),
        (["langs=hi"], "command line: langs: must be a list such as [hi], got 'hi'"),
        (
            ["stage=joint", "data.mix=natural"],
            "command line: data.mix: has keys of its own, such as data.mix",
        ),
        (["seed=-1"], "stage init: `seed` must be between 0 and 4294967295, got -1"),
        (
            ["stage=encoder", "optim.betas=[0.9,1.5]"],
            "optim: `betas` must be two numbers from 0 to below 1, got [0",
        ),
        (["stage=encoder", "optim.weight_decay=nan"], "optim: `weight_decay` must be 0 or more, got nan"),
        (
            ["stage=encoder", "lr.encoder=nan"],
            "stage encoder: `lr.encoder` must be 0 or more and finite, got nan",
        ),
        (
            ["stage=encoder", "lr.encoder=-1"],
            "stage encoder: `lr.encoder` must be 0 or more and finite, got -1.0",
        ),
        (["stage=encoder", "grad_clip=nan"], "stage encoder: `grad_clip` must be 0 or more, got nan"),
        (
            ["stage=encoder", "train=[encoder,encoder]"],
            "stage encoder: `train` names 'encoder' twice; once is enough",
        ),
        (["stage=encoder", "cache_gib=-1"], "stage encoder: `cache_gib` must be 0 or more, got -1"),
        (
            ["stage=encoder", "out_dir=~/x"],
            "stage encoder: `out_dir` is taken as it stands; write the whole path, got ~/x",
        ),
        (
            ["stage=encoder", "keep_best=1", "data.valid_index=null"],
            "stage encoder: `keep_best` chooses by validation: set data.valid_index, or unset keep_best",
        ),
        (
            ["stage=encoder", "best_by=foo"],
            "stage encoder: `best_by` must be wer, cer, mean.<head>.wer or wer.<head>.<lang>",
        ),
        (["stage=encoder", "best_by=wer.ctc.fr"], "stage encoder: `best_by` must be wer, cer, mean"),
        (["out_dir=x"], "command line: out_dir is the folder of one stage; choose one with stage="),
        (["recipe=demo", "init_from=previous"], "init_from: previous: llm is the first stage of recipe demo"),
        (
            ["reader.root=${oc.env:MAYA_NOWHERE}"],
            "reader.root: KeyError raised while resolving interpolation",
        ),
        (
            ["projector=nowhere.at_all:P"],
            "projector.name=nowhere.at_all:P: cannot be imported: No module named",
        ),
        (["config=nowhere.yaml"], "nowhere.yaml: no such file"),
        (["config=x.yaml", "stage=align"], "config=x.yaml is a whole run; stage= cannot be chosen beside it"),
    ],
)
def test_a_wrong_setting_is_named_with_its_source(overrides, error):
    with pytest.raises(ConfigError) as raised:
        compose(overrides, CONFIGS)
    assert str(raised.value).startswith(error)
    assert "\n" not in str(raised.value)


def test_an_unknown_plugin_is_answered_with_what_is_installed():
    with pytest.raises(
        UnknownPlugin, match=r"no heads named 'ctk'; installed: ctc, rnnt, tdt. Did you mean 'ctc'\?"
    ):
        run("stage=encoder", "heads.ctc.name=ctk")


def test_the_later_layer_wins():
    base = load_file(CONFIGS / "stage" / "encoder.yaml")
    recipe = load_file(CONFIGS / "recipe" / "demo.yaml").stage.encoder
    assert base.get("max_steps") != recipe.max_steps
    assert run("recipe=demo", "stage=encoder").max_steps == recipe.max_steps
    assert run("recipe=demo", "stage=encoder", "max_steps=41").max_steps == 41
    assert run("stage=encoder", "encoder=fastconformer_17l").encoder.num_layers == 17


def test_a_recipe_gives_one_run_a_stage_each_from_the_one_before():
    runs = compose(["recipe=demo", "run_dir=/d"], CONFIGS)
    assert [(r.stage, r.out_dir, r.init_from) for r in runs] == [
        ("llm", "/d/llm", None),
        ("encoder", "/d/encoder", None),
        ("align", "/d/align", "/d/encoder/model"),
        ("joint", "/d/joint", "/d/align/model"),
        ("polish", "/d/polish", "/d/joint/model"),
    ]


def test_one_stage_alone_starts_from_the_folder_of_the_stage_before():
    assert run("recipe=demo", "stage=joint", "out_dir=elsewhere").init_from == "runs/demo/align/model"


def test_a_plugin_without_a_config_file_can_be_chosen_by_name(tmp_path):
    (tmp_path / "projector").mkdir()
    for name in ("config.yaml", "recipe", "stage", "reader", "encoder", "llm", "strategy"):
        (tmp_path / name).symlink_to(CONFIGS / name)
    (only,) = compose(["stage=joint", "projector=qformer", "projector.window=4"], tmp_path)
    assert (only.projector.name, only.projector.window) == ("qformer", 4)


def test_a_slot_without_a_plugin_says_how_to_choose_one(tmp_path):
    for name in ("config.yaml", "recipe", "stage", "reader", "encoder", "llm", "strategy"):
        (tmp_path / name).symlink_to(CONFIGS / name)
    (tmp_path / "projector").mkdir()
    (tmp_path / "projector" / "mlp.yaml").write_text("stride: 2\n")
    with pytest.raises(
        ConfigError, match="projector: nothing chosen; add projector=<a file of configs/projector>"
    ):
        compose(["stage=joint"], tmp_path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "stages: [encoder]\nal: {seed: 1}",
            "recipe/odd.yaml: al: no such key in a recipe. Did you mean: 'all'?",
        ),
        (
            "stages: [encoder]\nstage: {joint: {seed: 1}}",
            "recipe/odd.yaml: stage.joint: not one of its stages encoder",
        ),
        ("stages: [encodr]", "stage=encodr: no such file"),
        (
            "stages: [encoder]\nall: {sed: 1}",
            "recipe/odd.yaml: sed: Key 'sed' not in 'RunConfig'. Did you mean: 'seed'?",
        ),
        (
            "stages: [encoder]\nstage: {encoder: {sed: 1}}",
            "recipe/odd.yaml: sed: Key 'sed' not in 'RunConfig'.",
        ),
        ("seed: [", "{path}: not readable as YAML"),
        ("- 1", "{path}: expected keys and values, found a list"),
    ],
)
def test_a_wrong_recipe_is_named_with_its_file(tmp_path, text, error):
    for name in ("config.yaml", "stage", "reader", "encoder", "projector", "llm", "strategy"):
        (tmp_path / name).symlink_to(CONFIGS / name)
    (tmp_path / "recipe").mkdir()
    path = tmp_path / "recipe" / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        compose(["recipe=odd"], tmp_path)
    assert str(raised.value).startswith(error.format(path=path))


@pytest.mark.parametrize("stage", ["llm", "encoder", "joint"])
def test_the_saved_config_is_the_run(tmp_path, stage):
    first = run("recipe=demo", f"stage={stage}", "seed=3")
    save(first, tmp_path / "config.yaml")
    assert reload(tmp_path / "config.yaml") == first
    assert run(f"config={tmp_path / 'config.yaml'}") == first
    assert run(f"config={tmp_path / 'config.yaml'}", "max_steps=7") == replace(first, max_steps=7)


def test_the_digest_changes_with_what_is_learnt_and_not_with_where():
    first = run("recipe=demo", "stage=encoder")
    assert digest(run("recipe=demo", "stage=encoder", "log_every=1", "threads=2", "save_every=3")) == digest(
        first
    )
    assert digest(compose(["recipe=demo", "projector=qformer"], CONFIGS)[1]) == digest(first)
    assert digest(run("recipe=demo", "stage=encoder", "seed=9")) != digest(first)


def test_the_digest_is_that_of_the_training_however_it_is_spread_or_fed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "llm" / "model").mkdir(parents=True)
    chosen = ("recipe=demo", "stage=joint")
    first = digest(run(*chosen, "run_dir=here", "devices=1", "grad_accum=2"))
    assert digest(run(*chosen, "run_dir=here", "devices=2", "grad_accum=1")) == first
    assert digest(run(*chosen, f"run_dir={tmp_path}/here", "devices=1", "grad_accum=2")) == first
    more = ("data.num_workers=1", "cache_gib=9", "data.valid_index=null")
    assert digest(run(*chosen, "run_dir=here", "devices=2", "grad_accum=1", *more)) == first
    assert digest(run(*chosen, "run_dir=here", "devices=2", "grad_accum=2")) != first
    assert digest(run(*chosen, "run_dir=here", "devices=2", "grad_accum=1", "data.index=there")) != first


def test_a_run_whose_folder_was_moved_is_the_same_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "llm" / "model").mkdir(parents=True)
    first = digest(run("recipe=demo", "stage=joint", "run_dir=here"))
    (tmp_path / "here").rename("there")
    assert digest(run("recipe=demo", "stage=joint", "run_dir=there")) == first


def test_what_one_stage_of_the_command_reads_may_be_set_for_all():
    runs = compose(["recipe=demo", "projector=mlp", "lr.encoder=1e-4"], CONFIGS)
    assert [r.projector.name for r in runs if r.projector] == ["mlp"] * 3


def test_configs_are_found_from_a_folder_below_and_else_inside_the_package(tmp_path):
    assert find_configs(REPO / "packages" / "maya-train") == CONFIGS
    assert (find_configs(tmp_path) / "config.yaml").is_file()


def test_a_folder_without_configs_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no folder of configs: it has no config\.yaml"):
        compose([], tmp_path)
