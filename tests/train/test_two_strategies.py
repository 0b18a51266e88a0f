"""All strategies on two processes of torchrun: equal to DDP step by step, whole chains, the scoring pass."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from lightning.fabric import Fabric
from safetensors.torch import load_file

from maya_train.metrics_log import read_steps
from maya_train.schema import DistillConfig, EncoderLoraConfig, SelectConfig
from maya_train.scoring import passes
from maya_train.scoring.selection import ensure_list

SCRIPT = Path(__file__).parent / "two_strategies.py"
STAGES = ("acoustic", "speech_llm", "distilled", "lora")
needs_deepspeed = pytest.mark.skipif(
    not find_spec("deepspeed"), reason="the extra deepspeed is not installed"
)
ZEROS = [pytest.param(f"zero-{stage}", marks=needs_deepspeed) for stage in range(4)]


def chain(make: Callable[..., Any], folder: Path, name: str, precision: str = "32-true") -> list[Any]:
    """The acoustic model, an LLM behind its frozen encoder, and stages with a teacher and with LoRA."""
    shared = {"accelerator": "cpu", "precision": precision, "threads": 1, "max_steps": 2, "specaugment": None}
    runs = []
    first = str(folder / name / "acoustic" / "model")
    beside = {
        "distilled": {"distill": DistillConfig(teacher=first, temperature=2.0), "encoder_top_layers": 1},
        "lora": {
            "encoder_lora": EncoderLoraConfig(rank=2),
            "train": ["encoder", "ctc", "projector", "llm"],
            "lr": dict.fromkeys(("encoder", "ctc", "projector", "llm"), 1e-3),
            "ctc_weight": 0.5,
            "cache_encoder": False,
        },
    }
    for stage in STAGES:
        task = "acoustic" if stage in ("acoustic", "distilled") else "speech_llm"
        where = {"stage": stage, "out_dir": str(folder / name / stage), "run_dir": str(folder / name)}
        run = make(task, **shared, **where, grad_accum=2, **beside.get(stage, {}))
        run.data.valid_index = run.data.index
        run.corruption = None
        run.loss = {"ctc": 1.0, "rnnt": 0.5} if task == "acoustic" else {}
        run.cache_encoder = False
        run.optim.warmup_steps = 0
        run.encoder.num_layers = 2
        run.encoder.dropout = 0.0
        run.encoder.activation_checkpointing = task == "acoustic"
        run.frontend.dither = 0.0
        run.init_from = None if stage == "acoustic" else first
        runs.append(run)
    return runs


def selecting(make: Callable[..., Any], folder: Path, name: str) -> Any:
    """A stage on the third of each language that the acoustic model of the first chain finds cleanest."""
    start = str(folder / "chain" / "ddp" / "acoustic" / "model")
    keys = {"stage": "polish", "init_from": start, "accelerator": "cpu", "threads": 1}
    where = {"out_dir": str(folder / name / "polish"), "run_dir": str(folder / name)}
    return make("acoustic", select=SelectConfig(share=0.34), **keys, **where)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two-strategies")


@pytest.fixture
def trained(done: Path, make_config: Callable[..., Any]) -> Path:
    """The folder that two processes leave; they run once."""
    if not (done / "chains.pkl").is_file():
        chains = [(name, chain(make_config, done / "chain", name)) for name in ("ddp", "fsdp", "zero-3")]
        chains.append(("zero-2", chain(make_config, done / "chain", "zero-2", "bf16-mixed")[:1]))
        chains.append(("ddp", [selecting(make_config, done, "two")]))
        (done / "chains.pkl").write_bytes(pickle.dumps(chains))
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--master-port",
            "29541",
        ]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        ended = subprocess.run(
            [*command, SCRIPT, done, done / "chains.pkl"],
            env=environ,
            timeout=600,
            capture_output=True,
            text=True,
            check=False,
        )
        (done / "log.txt").write_text(f"{ended.returncode} {ended.stderr[-5000:]}")
    log = (done / "log.txt").read_text()
    assert log.startswith("0 "), log
    return done


def steps(folder: Path) -> dict[int, dict[str, Any]]:
    return read_steps(folder / "metrics.jsonl")


@pytest.mark.parametrize("name", ["fsdp", "fsdp-kept", *ZEROS])
@pytest.mark.parametrize("kind", ["", "-poisoned", "-resumed"])
def test_every_strategy_equals_ddp_with_accumulation_clipping_skips_and_resume(
    trained: Path, name: str, kind: str
) -> None:
    expected, found = steps(trained / f"ddp{kind}"), steps(trained / f"{name}{kind}")
    assert list(found) == list(expected) == [1, 2, 3, 4]
    for step, line in expected.items():
        assert found[step]["skipped"] == line["skipped"]
        assert found[step]["tokens"] == line["tokens"]
        if line["loss"] is not None:
            assert found[step]["loss"] == pytest.approx(line["loss"], rel=1e-5)
            assert found[step]["grad_norm"] == pytest.approx(line["grad_norm"], rel=1e-4)
            assert line["grad_norm"] > 0.05  # clipped
    assert expected[4]["skipped"] == (1 if kind == "-poisoned" else 0)


@pytest.mark.parametrize("name", ["fsdp", pytest.param("zero-3", marks=needs_deepspeed)])
@pytest.mark.parametrize("stage", STAGES)
def test_a_chain_under_sharding_hands_on_what_ddp_does(trained: Path, name: str, stage: str) -> None:
    expected, found = trained / "chain" / "ddp" / stage, trained / "chain" / name / stage
    for step, line in steps(expected).items():
        assert steps(found)[step]["loss"] == pytest.approx(line["loss"], rel=1e-5)
    models = [load_file(folder / "model" / "model.safetensors") for folder in (expected, found)]
    assert models[0].keys() == models[1].keys()
    for key, value in models[0].items():
        assert models[1][key].shape == value.shape
        assert models[1][key].dtype == value.dtype
        if not key.endswith("num_batches_tracked"):
            assert float((models[1][key] - value).abs().double().mean()) < 1e-5, key
    scores = [json.loads((folder / "validation.jsonl").read_text()) for folder in (expected, found)]
    assert scores[0]["utterances"] == scores[1]["utterances"] == 18


def test_two_processes_share_the_scoring_and_make_the_list_of_one(
    trained: Path, make_config: Callable[..., Any], fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "CHUNK", 5)
    ensure_list(fabric, selecting(make_config, trained, "one"), print)

    wrote = [(trained / "two" / f"wrote-{rank}").read_text().split() for rank in (0, 1)]
    assert wrote == [
        ["part-000000.parquet", "part-000002.parquet"],
        ["part-000001.parquet", "part-000003.parquet"],
    ]
    two, one = (
        pq.read_table(trained / name / "polish" / "keep.parquet").to_pydict() for name in ("two", "one")
    )
    assert two["row"] == one["row"]
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["cer"] == one["cer"]


@needs_deepspeed
def test_deepspeed_in_bf16_hands_on_its_float32_weights(trained: Path) -> None:
    folder = trained / "chain" / "zero-2" / "acoustic"
    values = load_file(folder / "model" / "model.safetensors").values()
    assert {str(value.dtype) for value in values if value.is_floating_point()} == {"torch.float32"}
    learnt = [value for value in values if value.ndim == 2]
    assert any(not value.equal(value.bfloat16().float()) for value in learnt)
    assert steps(folder)[2]["loss"] == pytest.approx(
        steps(trained / "chain" / "ddp" / "acoustic")[2]["loss"], rel=0.05
    )
