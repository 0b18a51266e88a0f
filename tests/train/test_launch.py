import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from maya_bridge import gguf
from maya_train import launch
from maya_train.compose import compose
from maya_train.errors import LaunchError
from maya_train.launch import (
    Launch,
    build_strategy,
    check_devices,
    make_fabric,
    resolve,
    resolve_chain,
)
from maya_train.stage_files import check_files, check_llm
from maya_train.strategies.deepspeed import DeepSpeed

CONFIGS = Path(__file__).parents[2] / "configs"
UNDER_FABRIC = {"LT_CLI_USED": "1", "LT_DEVICES": "1", "LT_NUM_NODES": "1"}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(launch, "count_gpus", lambda: 0)


def stage(*overrides: str):
    (run,) = compose(["recipe=demo", "stage=encoder", *overrides], CONFIGS)
    return run


def settled(*overrides: str, **environ: str):
    return resolve(stage(*overrides), environ, overrides)


def test_without_a_launcher_the_config_decides():
    assert settled() == Launch(
        devices=1, num_nodes=1, accelerator="cpu", precision="32-true", by_fabric_cli=False
    )
    assert settled("devices=3", "num_nodes=2").num_processes == 6


def test_under_fabric_run_the_launcher_wins_over_a_default():
    environ = UNDER_FABRIC | {"LT_DEVICES": "2", "LT_ACCELERATOR": "cuda", "LT_PRECISION": "bf16"}
    found = settled(**environ)
    assert (found.devices, found.accelerator, found.precision) == (2, "cuda", "bf16-mixed")
    assert found.by_fabric_cli


@pytest.mark.parametrize(
    ("override", "environ", "error"),
    [
        (
            "devices=4",
            {"LT_DEVICES": "2"},
            "devices=4 differs from --devices 2; give --devices, not devices=, under",
        ),
        ("devices=2", {}, "devices=2 differs from --devices 1"),
        ("num_nodes=2", {}, "num_nodes=2 differs from --num-nodes 1"),
        ("accelerator=cpu", {"LT_ACCELERATOR": "cuda"}, "accelerator=cpu differs from --accelerator cuda"),
        (
            "precision=32-true",
            {"LT_PRECISION": "bf16"},
            "precision=32-true differs from --precision bf16-mixed",
        ),
        (
            "strategy=ddp",
            {"LT_STRATEGY": "fsdp"},
            "--strategy fsdp differs from strategy=ddp; leave the flag out",
        ),
        (
            "seed=1",
            {"LT_PRECISION": "16-mixed"},
            "precision 16-mixed is not offered, only 32-true, bf16-mixed",
        ),
    ],
)
def test_a_contradiction_with_the_launcher_names_both(override, environ, error):
    with pytest.raises(LaunchError) as raised:
        settled(override, **(UNDER_FABRIC | environ))
    assert str(raised.value).startswith(error)


def test_a_stray_launcher_variable_is_refused():
    with pytest.raises(LaunchError, match="LT_DEVICES=2 is set, but this is not `fabric run`; unset it"):
        settled(LT_DEVICES="2")


def test_plain_torchrun_gives_the_processes():
    environ = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}
    found = settled(**environ)
    assert (found.devices, found.num_nodes) == (2, 3)
    with pytest.raises(LaunchError, match="devices=4 differs from torchrun's 2"):
        settled("devices=4", **environ)


@pytest.mark.parametrize(("devices", "count"), [("auto", 1), ("-1", 1), ("3", 3), ("0,2", 2), ("[0,1,2]", 3)])
def test_devices_may_be_a_number_a_list_or_auto(devices, count):
    assert settled(**(UNDER_FABRIC | {"LT_DEVICES": devices})).devices == count


@pytest.mark.parametrize(
    ("have", "wanted", "by_fabric", "error"),
    [
        (0, 8, True, "8 GPUs (accelerator: cuda), this machine has none; add --accelerator cpu"),
        (0, 1, False, "1 GPU (accelerator: cuda), this machine has none; add accelerator=cpu"),
        (2, 8, True, "8 GPUs (accelerator: cuda), this machine has 2; add --devices 2"),
    ],
)
def test_missing_gpus_are_said_with_the_way_out(monkeypatch, have, wanted, by_fabric, error):
    monkeypatch.setattr(launch, "count_gpus", lambda: have)
    asked = Launch(
        devices=wanted, num_nodes=1, accelerator="cuda", precision="32-true", by_fabric_cli=by_fabric
    )
    with pytest.raises(LaunchError) as raised:
        check_devices(stage(), asked)
    assert str(raised.value) == f"stage encoder asks for {error}"


def test_all_gpus_are_taken_when_no_number_is_given(monkeypatch):
    monkeypatch.setattr(launch, "count_gpus", lambda: 4)
    assert settled("accelerator=cuda").devices == 4
    assert settled("accelerator=auto").accelerator == "cuda"


def test_a_chain_shares_one_answer_and_remembers_it():
    runs = compose(["recipe=demo", "devices=2"], CONFIGS)
    found = resolve_chain(runs, {})
    assert found.devices == 2
    assert {(run.devices, run.num_nodes, run.accelerator) for run in runs} == {(2, 1, "cpu")}


def test_a_chain_that_disagrees_is_refused():
    runs = compose(["recipe=demo"], CONFIGS)
    runs[2].precision = "bf16-mixed"
    with pytest.raises(LaunchError, match="need one `precision`: llm has 32-true, align has bf16-mixed"):
        resolve_chain(runs, {})


def test_batches_that_do_not_go_round_are_refused():
    runs = compose(["recipe=demo", "stage=encoder", "devices=3"], CONFIGS)
    with pytest.raises(LaunchError, match=r"`data\.sync_width` must be a multiple of the 3 processes, got 2"):
        resolve_chain(runs, {})


def test_a_strategy_that_cannot_serve_the_processes_is_said_before_the_start():
    runs = compose(["recipe=demo", "strategy=single", "devices=2"], CONFIGS)
    with pytest.raises(LaunchError, match="strategy single is for one process, got 2"):
        resolve_chain(runs, {})


def prepared_folder(root: Path) -> Path:
    for part in ("train", "valid"):
        (root / "index" / part).mkdir(parents=True)
        (root / "index" / part / "index.json").write_text("{}")
    (root / "tokenizer").mkdir()
    (root / "tokenizer" / "tokenizer.yaml").write_text("models: []")
    return root


def test_a_chain_with_all_its_files_passes(tmp_path):
    check_files(compose(["recipe=demo", f"run_dir={prepared_folder(tmp_path)}"], CONFIGS))


def test_missing_files_are_named(tmp_path):
    run = stage(f"run_dir={tmp_path}")
    with pytest.raises(LaunchError, match=r"reader\.root: .*/data/train: no such folder"):
        check_files([run])
    run.reader.root = None
    with pytest.raises(LaunchError, match=r"no value given for reader\.root; set it or MAYA_DATA"):
        check_files([run])
    run.reader.root = str(tmp_path)
    with pytest.raises(LaunchError, match=r"no index at .*/index/train; make it with: maya-data index"):
        check_files([run])


def test_a_missing_tokenizer_is_named(tmp_path):
    run = stage(f"run_dir={prepared_folder(tmp_path)}")
    (tmp_path / "tokenizer" / "tokenizer.yaml").unlink()
    with pytest.raises(LaunchError, match=r"no tokenizer at .*; make it with: maya-data tokenizer"):
        check_files([run])


def test_a_stage_without_the_weights_it_starts_from_is_refused(tmp_path):
    runs = compose(["recipe=demo", "stage=align", f"run_dir={prepared_folder(tmp_path)}"], CONFIGS)
    with pytest.raises(LaunchError, match=r"stage align starts from .*/encoder/model, which is not there"):
        check_files(runs)


def test_fabric_gets_what_was_settled(monkeypatch):
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("LT_DEVICES", "1")
    run = stage("threads=1", "precision=bf16-mixed")
    try:
        fabric, capabilities = make_fabric(run, resolve(run, {}))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert (fabric.world_size, fabric.device.type) == (1, "cpu")
    assert fabric._precision.precision == "bf16-mixed"
    assert not capabilities.sharded


@pytest.mark.parametrize("there", ["gemma3_270m/model.safetensors", "align/model/llm/config.json"])
def test_a_packed_llm_needs_no_package_once_it_is_unpacked_or_in_the_model(tmp_path, monkeypatch, there):
    monkeypatch.setattr(gguf, "PACKAGE", "no_such_package")
    chosen = ["recipe=demo_gemma3_270m", "stage=joint", f"run_dir={tmp_path}"]
    runs = compose(chosen, CONFIGS)
    with pytest.raises(LaunchError, match=r"stage joint: llm\.source: gguf needs no_such_package"):
        check_llm(runs)
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).touch()
    check_llm(runs)


def test_an_llm_folder_that_is_not_there_is_named(tmp_path):
    root = prepared_folder(tmp_path)
    (root / "encoder" / "model").mkdir(parents=True)
    chosen = ["recipe=demo", "stage=align", f"run_dir={root}"]
    with pytest.raises(LaunchError, match=r"stage align: llm\.path: .*/llm/model: no such folder; give a"):
        check_files(compose(chosen, CONFIGS))
    with pytest.raises(LaunchError, match=r"stage align: llm\.path: no value given"):
        check_files(compose([*chosen, "llm.path=null"], CONFIGS))
    of_the_hub = [*chosen, "llm.path=google/gemma-3-270m"]
    with pytest.raises(LaunchError, match=r"google/gemma-3-270m: no such folder; .* set llm\.hub=true"):
        check_files(compose(of_the_hub, CONFIGS))
    check_files(compose([*of_the_hub, "llm.hub=true"], CONFIGS))
    check_files(compose([*chosen, f"llm.path={tmp_path}"], CONFIGS))


def test_an_llm_that_comes_with_the_model_needs_no_folder(tmp_path):
    root = prepared_folder(tmp_path)
    (root / "align" / "model" / "llm").mkdir(parents=True)
    check_files(compose(["recipe=demo", "stage=joint", f"run_dir={root}"], CONFIGS))


SRUN = {"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "5"}


def test_srun_gives_the_processes_and_the_rank():
    found = settled(**SRUN)
    assert (found.devices, found.num_nodes) == (4, 2)
    assert launch.rank(SRUN) == 5
    assert launch.rank(SRUN | {"RANK": "1"}) == 1
    with pytest.raises(LaunchError, match="devices=8 differs from srun's 4; leave devices= out under srun"):
        settled("devices=8", **SRUN)
    with pytest.raises(
        LaunchError, match="8 tasks on 3 nodes: give srun --ntasks-per-node, one task a device"
    ):
        settled(**SRUN | {"SLURM_STEP_NUM_NODES": "3"})


def test_a_batch_script_without_srun_is_refused_before_it_waits_for_ever():
    with pytest.raises(LaunchError, match="SLURM_NTASKS=8, but srun has not started this process"):
        settled(SLURM_NTASKS="8")
    assert settled(SLURM_NTASKS="8", SLURM_JOB_NAME="bash").devices == 1  # somebody types there
    environ = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2", "SLURM_NTASKS": "1"}
    assert settled(**environ).devices == 2  # torchrun in a batch script


def test_machines_that_could_not_meet_are_refused():
    runs = compose(["recipe=demo", "num_nodes=2"], CONFIGS)
    with pytest.raises(
        LaunchError, match="num_nodes=2 without a launcher needs NODE_RANK, MASTER_PORT in the"
    ):
        resolve_chain(runs, {"MASTER_ADDR": "node-0"})
    met = {"NODE_RANK": "0", "MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}
    assert resolve_chain(runs, met).num_processes == 2


@pytest.mark.parametrize("by_cli", [True, False])
def test_processes_are_launched_once(monkeypatch, by_cli):
    launched = []
    monkeypatch.setattr("lightning.fabric.Fabric.launch", lambda fabric: launched.append(fabric))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    asked = Launch(devices=1, num_nodes=1, accelerator="cpu", precision="32-true", by_fabric_cli=by_cli)
    make_fabric(stage("threads=1"), asked)
    assert len(launched) == (0 if by_cli else 1)


def test_a_run_that_joined_fewer_processes_than_were_started_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    alone = Launch(devices=1, num_nodes=1, accelerator="cpu", precision="32-true", by_fabric_cli=False)
    with pytest.raises(LaunchError, match="2 processes were started, but this run joined 1 of them"):
        make_fabric(stage("threads=1"), alone)


def test_a_strategy_for_gpus_says_so_on_a_cpu():
    pytest.importorskip("deepspeed")
    run = stage()
    run.strategy = DeepSpeed()
    with pytest.raises(
        LaunchError, match="strategy deepspeed needs CUDA devices, got accelerator cpu; choose"
    ):
        build_strategy(run, replace(settled(), devices=2))


def test_help_of_every_command_comes_before_anything_heavy_is_imported():
    code = (
        "import sys; from contextlib import suppress; from maya_train import cli, commands\n"
        "for name in commands.NAMES:\n    with suppress(SystemExit):\n        cli.main([name, '--help'])\n"
        "print({'torch', 'lightning', 'transformers', 'deepspeed'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nset()\n"), done.stdout[-200:]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (UNDER_FABRIC | {"LT_DEVICES": "abc"}, "--devices must be a whole number of 1 or more, got abc"),
        (UNDER_FABRIC | {"LT_DEVICES": "0"}, "--devices must be a whole number of 1 or more, got 0"),
        (UNDER_FABRIC | {"LT_NUM_NODES": "x"}, "--num-nodes must be a whole number of 1 or more, got x"),
        (
            {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "3"},
            "WORLD_SIZE=3 is no multiple of LOCAL_WORLD_SIZE=2: give torchrun",
        ),
        ({"SLURM_NTASKS": "many"}, "SLURM_NTASKS must be a whole number of 1 or more, got many"),
    ],
)
def test_numbers_of_a_launcher_that_are_none_are_one_sentence(environ, told):
    with pytest.raises(LaunchError, match=told):
        settled(**environ)
