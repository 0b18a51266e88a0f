"""A tiny corpus in three languages (a tone a letter), its index and tokenizer, and a config for each task."""

import io
import json
import runpy
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from lightning.fabric import Fabric
from tests.train.ctc_stage import CTC_ONLY

from maya_bridge.llm import LLMConfig
from maya_bridge.projectors.ctc_compress import CTCCompress
from maya_bridge.prompt import PromptConfig
from maya_data.indexing.build import build_index
from maya_data.readers.final_export import FinalExport
from maya_data.tokenizer import train_tokenizer
from maya_encoder import checkpoint
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_train.build import build_acoustic
from maya_train.schema import CorruptionConfig, DataConfig, OptimConfig, RunConfig
from maya_train.strategies.single import Single

RATE = 16_000
TEXTS = {
    "en": ["go on", "no", "in a no", "on go", "a in", "no go in"],
    "hi": ["नम", "मन न", "न म", "मनम", "नम मन", "म"],
    "ta": ["நம", "மன ந", "ந ம", "மனம", "நம மன", "ம"],
}


def tones(text: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(RATE // 8) / RATE
    wave = np.concatenate([np.sin(2 * np.pi * (200 + 37 * (ord(letter) % 64)) * time) for letter in text])
    return ((0.3 * wave + 0.01 * rng.standard_normal(len(wave))) * 32767).astype(np.int16)


def write_shard(folder: Path, lang: str, texts: list[str]) -> None:
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    with tarfile.open(folder / "audio.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, text in enumerate(texts):
            samples, buffer = tones(text, number), io.BytesIO()
            soundfile.write(buffer, samples, RATE, format="FLAC", subtype="PCM_16")
            data, utt_id = buffer.getvalue(), f"{lang}-{number}"
            member = tarfile.TarInfo(f"{utt_id}.flac")
            member.size = len(data)
            offset = tar.offset + 512
            tar.addfile(member, io.BytesIO(data))
            rows.append(
                {
                    "segment_id": utt_id,
                    "member": member.name,
                    "offset": offset,
                    "size": len(data),
                    "duration": len(samples) / RATE,
                    "num_samples": len(samples),
                    "sampling_rate": RATE,
                    "text": text,
                    "lang": lang,
                    "speaker": "tone",
                }
            )
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.select(["segment_id", "member", "offset", "size"]), folder / "audio_index.parquet")
    pq.write_table(table.drop_columns(["member", "offset", "size"]), folder / "metadata.parquet")
    (folder / "manifest.json").write_text(json.dumps({"num_segments": len(rows)}))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `index/` and `tokenizer/`."""
    root = tmp_path_factory.mktemp("corpus")
    for lang, texts in TEXTS.items():
        write_shard(root / "shards" / f"lang={lang}" / "000", lang, texts)
    index = build_index(FinalExport(root=str(root / "shards")), root / "index")
    train_tokenizer(index.texts(), root / "tokenizer", model_type="char", script="common")
    return root


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def make_config(corpus: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """A config of a tiny stage; keyword arguments replace its keys."""

    def make(task: str = "acoustic", **changes: Any) -> RunConfig:
        shared: dict[str, Any] = {
            "recipe": "test",
            "stage": task,
            "stages": [task],
            "run_dir": str(tmp_path),
            "out_dir": str(tmp_path / task),
            "max_steps": 4,
            "save_every": 2,
            "valid_every": 0,
            "langs": list(TEXTS),
            "tokenizer": str(corpus / "tokenizer"),
            "specaugment": None,
            "optim": OptimConfig(warmup_steps=2),
            "data": DataConfig(
                index=str(corpus / "index"), valid_index=None, batch_duration=2.0, sync_width=2
            ),
            "encoder": FastConformerConfig(
                num_layers=1,
                hidden_size=16,
                num_heads=2,
                subsampling_factor=4,
                subsampling_channels=4,
                lang_embedding="input",
            ),
            "heads": {
                "ctc": CTCConfig(),
                "rnnt": RNNTConfig(prediction="stateless", prediction_size=8, joint_size=8),
            },
            "projector": CTCCompress(),
            "llm": LLMConfig(source="tiny", script="common", hidden_size=16, num_layers=1, num_heads=2),
            "prompt": PromptConfig(positions="restart"),
            "strategy": Single(),
        }
        return RunConfig(**{**shared, **of_task(task), **changes})

    return make


@pytest.fixture
def trained(make_config: Callable[..., RunConfig]) -> RunConfig:
    """A stage that has left a model with a CTC head."""
    cfg = make_config("acoustic", **CTC_ONLY, stage="old")
    cfg.out_dir = str(Path(cfg.run_dir) / "old")
    torch.manual_seed(1)
    checkpoint.save(build_acoustic(cfg), f"{cfg.out_dir}/model")
    return cfg


def of_task(task: str) -> dict[str, Any]:
    if task == "acoustic":
        rates = {"encoder": 1e-3, "ctc": 1e-3, "rnnt": 1e-3}
        return {"task": task, "lr": rates, "loss": {"ctc": 1.0, "rnnt": 0.5, "rnnt_from": 0.5}}
    if task == "text_copy":
        return {"task": task, "train": ["llm"], "lr": {"llm": 1e-3}}
    rates = {"projector": 1e-3, "llm": 1e-3}
    noise = CorruptionConfig(token_swap=0.1, frame_swap=0.1, frame_drop=0.1)
    return {"task": task, "train": list(rates), "lr": rates, "corruption": noise, "cache_encoder": True}


@pytest.fixture(scope="session")
def stand_in() -> SimpleNamespace:
    """The miniature task and its training; its file is a script too, for two processes."""
    path = Path(__file__).parent / "stand_in.py"
    return SimpleNamespace(path=path, **runpy.run_path(str(path)))
