"""The recipe maya_8xh100 at its full size, without memory: shapes alone, on torch's meta device."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from maya_train.compose import compose
from maya_train.metrics_log import read_steps
from maya_train.model_size import KNOWN_LLMS
from maya_train.optim import build_optimizer, schedule, set_rates
from maya_train.schema import RunConfig
from maya_train.stages import run_chain

CONFIGS = Path(__file__).parents[2] / "configs"
NUMBER = pytest.mark.parametrize("steps", [1, pytest.param(10, marks=pytest.mark.long)])
TINY_AUDIO = (
    *("recipe=maya_8xh100", "accelerator=cpu", "precision=bf16-true", "strategy=single", "vocab_size=null"),
    *("max_steps=10", "save_every=1000", "valid_every=0", "grad_accum=1", "keep_last=1", "langs=[en,hi,ta]"),
    *("optim.warmup_steps=2", "data.batch_duration=1.0", "data.max_batch_size=2", "data.sync_width=1"),
    *("data.num_workers=0", "data.valid_index=null", "loggers=[]"),
)
BATCH = 2
FEATURES = 80  # 0.8 s


@pytest.fixture(scope="module")
def runs() -> dict[str, RunConfig]:
    return {run.stage: run for run in compose(["recipe=maya_8xh100"], CONFIGS)}


def gemma() -> Any:
    """Gemma 3 1B as the hub's config.json has it."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    width, layers, inner, heads, kv_heads, head_dim, vocab = KNOWN_LLMS["gemma-3-1b"]
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "head_dim": head_dim,
    }
    attention = {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "sliding_window": 512}
    return Gemma3ForCausalLM(Gemma3TextConfig(vocab_size=vocab, use_cache=False, **sizes, **attention))


def size(*modules: nn.Module) -> float:
    """Weights, in billions."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters()) / 1e9


def train(cfg: RunConfig, modules: dict[str, nn.Module], forward: Any, steps: int) -> list[dict[str, float]]:
    """Steps of AdamW at the stage's rates over what the stage trains."""
    trained = {name: module for name, module in modules.items() if name in cfg.train}
    for name, module in modules.items():
        module.requires_grad_(name in trained).train(name in trained)
    optimizer, rates = build_optimizer(trained, cfg.lr, cfg.optim), []
    for step in range(steps):
        factor = schedule(step, cfg.max_steps, cfg.optim)
        rates.append(set_rates(optimizer, dict.fromkeys(trained, factor)))
        forward().backward()
        assert all(p.grad is not None for module in trained.values() for p in module.parameters())
        optimizer.step()
        optimizer.zero_grad()
    return rates


@NUMBER
def test_the_encoder_stage_steps_at_full_size(runs: dict[str, RunConfig], steps: int) -> None:
    cfg = runs["encoder"]
    vocab = int(cfg.vocab_size or 0) + 1
    with torch.device("meta"):
        plain = replace(cfg.encoder, activation_checkpointing=False)
        encoder = plain.build(num_mels=cfg.frontend.num_mels, langs=cfg.langs)
        ctc = cfg.heads["ctc"].build(encoder.hidden_size, vocab)
        features, lens = torch.randn(BATCH, FEATURES, cfg.frontend.num_mels), torch.full((BATCH,), FEATURES)
        shapes = []

        def forward() -> Any:
            log_probs = ctc(encoder(features, lens)[0])
            shapes.append(log_probs.shape)
            return log_probs.sum()

        rates = train(cfg, {"encoder": encoder, "ctc": ctc}, forward, steps)
    assert size(encoder) == pytest.approx(0.81, abs=0.02)
    assert shapes == [(BATCH, FEATURES // encoder.subsampling_factor, 8193)] * steps
    assert rates[0]["encoder"] == pytest.approx(1e-3 / 5_000)


@pytest.mark.long
@pytest.mark.parametrize("steps", [10])
def test_the_stages_with_the_llm_step_at_full_size(runs: dict[str, RunConfig], steps: int) -> None:
    joint = runs["joint"]
    with torch.device("meta"):
        llm = gemma()
    vocab = int(joint.vocab_size or 0) + 1
    made = joint.projector.build(in_dim=1024, out_dim=1152, embed_rms=1.0, vocab_size=vocab, state_dim=None)
    projector = made.to("meta")
    mask = dict.fromkeys(
        ("full_attention", "sliding_attention")
    )  # its own looks at values, which there are none
    with torch.device("meta"):
        spoken, lens = torch.randn(BATCH, 10, 1024), torch.full((BATCH,), 10)

        def forward() -> Any:
            embeds = projector(spoken, lens).speech_embeds
            assert embeds.shape[::2] == (BATCH, 1152)
            return llm(inputs_embeds=embeds, attention_mask=mask).logits.float().sum()

        modules = {"projector": projector, "llm": llm}
        rates = {name: train(runs[name], modules, forward, steps) for name in ("align", "joint", "polish")}
    assert size(llm) == pytest.approx(1.0, abs=0.01)
    assert size(projector) > 0.004
    assert rates["joint"][0] == pytest.approx({"projector": 1e-4 / 1_000, "llm": 1e-5 / 1_000})


def free_gib() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable"))


@pytest.mark.long
def test_the_chain_begins_with_ten_real_steps_at_full_size(corpus: Path, tmp_path: Path) -> None:
    if free_gib() < 12:
        pytest.skip(f"needs 12 GiB of free memory, there are {free_gib():.1f}")
    keys = {"run_dir": tmp_path, "tokenizer": corpus / "tokenizer", "data.index": corpus / "index"}
    chain = compose([*TINY_AUDIO, *(f"{key}={value}" for key, value in keys.items())], CONFIGS)[:2]

    run_chain(chain, Fabric(accelerator="cpu", devices=1, precision="bf16-true"))

    done = json.loads((tmp_path / "encoder" / "DONE").read_text())
    assert (done["steps"], done["skipped"]) == (10, 0)
    losses = [line["loss"] for line in read_steps(tmp_path / "encoder" / "metrics.jsonl").values()]
    assert all(0 < loss < 100 for loss in losses)
