"""Scores of all segments, and training on the cleanest of each language."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from lightning.fabric import Fabric
from tests.train.ctc_stage import CTC_ONLY

import maya_encoder
from maya_data.indexing.segments import SegmentIndex
from maya_train.cli import main
from maya_train.compose import save
from maya_train.errors import ConfigError
from maya_train.schema import (
    RunConfig,
    SelectConfig,
)
from maya_train.scoring import passes
from maya_train.scoring.cleanest import cleanest
from maya_train.sources import TrainingData, audio_batches
from maya_train.stages import run_chain

CONFIGS = Path(__file__).parents[2] / "configs"
Make = Callable[..., RunConfig]


@pytest.fixture
def select(make_config: Make, trained: RunConfig) -> Make:
    def make(**keys: Any) -> RunConfig:
        settings = SelectConfig(share=keys.pop("share", 0.34), by=keys.pop("by", "both"))
        changes = {"select": settings, "init_from": f"{trained.out_dir}/model", "max_steps": 1, **keys}
        return make_config("acoustic", **CTC_ONLY, stage="polish", **changes)

    return make


def test_a_stage_trains_on_the_cleanest_of_each_language(
    fabric: Fabric, select: Make, trained: RunConfig, capsys: Any
) -> None:
    cfg = select()

    run_chain([cfg], fabric)

    index = SegmentIndex.open(cfg.data.index)
    kept = pq.read_table(Path(cfg.out_dir) / "keep.parquet")
    rows = kept["row"].to_numpy()
    model = maya_encoder.load(f"{trained.out_dir}/model").eval()
    langs = np.asarray(index.lang_ids)
    for number, lang in enumerate(index.langs):
        of_lang, own = np.flatnonzero(langs == number), rows[langs[rows] == number]
        seconds = np.asarray(index.durations)
        assert 0 < len(own) < len(of_lang)
        assert seconds[own].sum() <= 0.34 * seconds[of_lang].sum() or len(own) == 1
        report = json.loads((Path(cfg.out_dir) / "keep.json").read_text())[lang]
        assert report["kept_segments"] == len(own)
        assert report["loss"] <= report["loss_of_all"]
    assert TrainingData.open(cfg).plan.rows().tolist() == rows.tolist()
    batch = next(audio_batches(fabric, cfg, TrainingData.open(cfg), 0))
    place = [index.string("id", int(row)) for row in rows].index(batch.ids[0])
    alone = replace_batch(batch)
    with torch.inference_mode():
        loss, _ = passes.score_batch(model, alone)
    assert loss[0] == pytest.approx(kept["loss"][place].as_py(), rel=1e-3)
    assert "loss a token" in capsys.readouterr().err

    assert run_chain([cfg], fabric) == [None]


def replace_batch(batch: Any) -> Any:
    """The first utterance of a batch."""
    length = int(batch.waveform_lens[0])
    first = {"ids": batch.ids[:1], "texts": batch.texts[:1], "langs": batch.langs[:1]}
    waves = {"waveforms": batch.waveforms[:1, :length], "waveform_lens": batch.waveform_lens[:1]}
    return replace(batch, durations=batch.durations[:1], **first, **waves)


def test_scoring_that_was_stopped_goes_on_and_gives_the_same(
    fabric: Fabric, select: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "CHUNK", 5)
    whole = select(out_dir="")
    whole.out_dir = f"{whole.run_dir}/whole"
    run_chain([whole], fabric)
    folder = next((Path(whole.run_dir) / "scores").iterdir())
    parts = sorted(folder.glob("part-*.parquet"))
    assert len(parts) == 4
    before = {part: part.read_bytes() for part in parts}
    parts[0].unlink()
    parts[1].write_bytes(before[parts[1]][:100])  # torn
    touched = parts[2].stat().st_mtime_ns

    again = select(out_dir=f"{whole.run_dir}/again")
    run_chain([again], fabric)

    assert {part: part.read_bytes() for part in parts} == before
    assert parts[2].stat().st_mtime_ns == touched
    lists = [(Path(cfg.out_dir) / "keep.parquet").read_bytes() for cfg in (whole, again)]
    assert lists[0] == lists[1]
    assert [path.name for path in folder.iterdir() if path.suffix != ".parquet"] == []


def test_another_share_of_an_unfinished_stage_makes_another_list(fabric: Fabric, select: Make) -> None:
    small, large = select(share=0.2), select(share=0.9)
    from maya_train.scoring.selection import ensure_list

    sizes = []
    for cfg in (small, large, large):
        ensure_list(fabric, cfg, lambda text: None)
        sizes.append(TrainingData.open(cfg).plan.num_segments)
    assert sizes[0] < sizes[1] == sizes[2]


def test_the_command_writes_a_list_that_any_stage_reads(
    select: Make, make_config: Make, capsys: Any, tmp_path: Path
) -> None:
    cfg, out = select(), tmp_path / "clean.parquet"
    save(cfg, tmp_path / "config.yaml")

    assert main(["score", f"config={tmp_path / 'config.yaml'}", "accelerator=cpu", "--out", str(out)]) == 0

    shown = capsys.readouterr()
    assert f"data.keep={out}" in shown.out
    assert shown.err.count(" (6)") == 3  # a line a language
    other = make_config("acoustic", data=replace(cfg.data, keep=str(out)))
    assert 3 <= TrainingData.open(other).plan.num_segments < 18


def test_a_model_without_ctc_cannot_score(fabric: Fabric, select: Make, make_config: Make) -> None:
    cfg = select(init_from=None, select=SelectConfig(model="nowhere"))
    with pytest.raises(ConfigError, match=r"stage polish: select: there is no nowhere/model\.safetensors"):
        run_chain([cfg], fabric)


def test_both_and_each_score_alone_order_segments_from_clean_to_dirty() -> None:
    scores = passes.Scores(
        np.arange(6),
        np.array([0.1, 0.2, 0.3, 0.4, np.inf, 0.1], np.float32),
        np.array([0.0, 0.5, 0.0, 1.0, 0.0, np.nan], np.float32),
    )
    langs, durations = np.zeros(6, np.int64), np.full(6, 10.0, np.float32)

    def chosen(share: float, by: str) -> list[int]:
        return np.flatnonzero(cleanest(scores, langs, durations, share, by)).tolist()

    assert chosen(0.35, "loss") == [0, 1]
    assert chosen(0.35, "cer") == chosen(0.35, "both") == [0, 2]
    assert chosen(0.5, "both") == [0, 1, 2]
    assert chosen(1.0, "both") == [0, 1, 2, 3]  # what could not be scored is never clean
    assert chosen(0.001, "both") == [0]  # of each language, one at least
