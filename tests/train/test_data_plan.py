"""The keys of `data` that reach plan and loader, and what they leave as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from lightning.fabric import Fabric

from maya_data.audio.augment import NoiseConfig
from maya_data.planning.plan import Plan, PlanConfig
from maya_train.compose import compose, digest, learnt
from maya_train.data_plan import check_plans, pin_quarantine, plan_config, selection
from maya_train.errors import ConfigError
from maya_train.schema import DataConfig, RunConfig
from maya_train.sources import TrainingData, audio_batches
from maya_train.validate import few_rows

Make = Callable[..., RunConfig]


def with_data(cfg: RunConfig, **keys: object) -> RunConfig:
    return replace(cfg, data=replace(cfg.data, **keys))


def test_defaults_plan_what_was_planned_before(make_config: Make) -> None:
    cfg = make_config()
    data = TrainingData.open(cfg)
    before = PlanConfig(seed=cfg.seed, batch_duration=2.0, sync_width=2)

    assert data.plan.fingerprint == Plan(data.index, before).fingerprint
    assert selection(cfg) == (0.01, 40.0, None)


def test_keys_of_today_leave_the_digest_of_a_run_as_it_was(tmp_path: Path) -> None:
    run = compose(["recipe=demo_quick", "stage=encoder"])[0]
    new = (
        "speeds",
        "shuffle",
        "num_buckets",
        "buckets_file",
        "corpora",
        "quarantine",
        "max_chars_per_second",
    )

    assert not {f"data.{key}" for key in new} & set(learnt(run))
    assert not [key for key in learnt(run) if key.startswith("data.noise")]
    assert digest(with_data(run, valid_llm=3)) == digest(run)
    assert digest(replace(run, loggers=["csv"])) == digest(run)
    for key, value in (("speeds", [0.9, 1.0]), ("corpora", ["a"]), ("shuffle", "block")):
        assert digest(with_data(run, **{key: value})) != digest(run)
    noisy = with_data(run, noise=NoiseConfig(root="noise"))
    assert digest(noisy) != digest(run)
    assert digest(with_data(run, noise=NoiseConfig(root="noise", cache="x"))) == digest(noisy)


def test_keys_can_be_typed_on_the_command_line() -> None:
    typed = [
        "data.speeds=[0.9,1.0,1.1]",
        "data.noise.root=musan",
        "data.noise.snr=[0,10]",
        "data.shuffle=block",
    ]
    run = compose(["recipe=demo_quick", "stage=encoder", *typed, "data.quarantine=3", "data.corpora=[a]"])[0]

    assert run.data.speeds == [0.9, 1.0, 1.1]
    assert run.data.noise == NoiseConfig(root="musan", snr=(0.0, 10.0))
    assert plan_config(run).filter.quarantine == 3
    assert compose(["recipe=demo_quick", "stage=encoder", "data.noise=null"])[0].data.noise is None


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"speeds": [3.0]}, "stage acoustic: data: `speeds` must be factors from 0.5 to 2, got [3.0]"),
        ({"corpora": []}, "`corpora` must name at least one"),
        ({"quarantine": "newest"}, "`quarantine` must be null, 'latest' or a version number, got 'newest'"),
        ({"buckets_file": "nowhere.json"}, "`buckets_file` nowhere.json is missing"),
    ],
)
def test_impossible_setting_is_found_before_the_start(keys: dict, sentence: str, make_config: Make) -> None:
    with pytest.raises(ConfigError) as found:
        check_plans([with_data(make_config(), **keys)])

    assert sentence in str(found.value)


def test_kept_outputs_and_changed_audio_do_not_go_together(make_config: Make) -> None:
    with pytest.raises(
        ValueError, match=r"`cache_encoder` keeps one output an utterance; unset data\.speeds"
    ):
        with_data(make_config("speech_llm"), speeds=[0.9, 1.1])


def test_speed_changes_lengths_epoch_by_epoch(make_config: Make, fabric: Fabric) -> None:
    cfg = with_data(make_config(), speeds=[0.5, 2.0])
    data = TrainingData.open(cfg)
    batches = audio_batches(fabric, cfg, data, 0)
    heard: dict[str, set[float]] = {}
    for _ in range(sum(len(data.plan.steps(epoch)) for epoch in (0, 1))):
        batch = next(batches)
        for name, seconds in zip(batch.ids, batch.durations, strict=True):
            heard.setdefault(name, set()).add(round(seconds, 2))

    ratios = {round(max(lengths) / min(lengths)) for lengths in heard.values() if len(lengths) == 2}
    assert ratios == {4}


def test_noise_is_mixed_in_and_the_same_after_a_restart(
    make_config: Make, fabric: Fabric, tmp_path: Path
) -> None:
    (tmp_path / "noise").mkdir()
    hiss = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "noise" / "hiss.wav", hiss, 16_000)
    noise = NoiseConfig(root=str(tmp_path / "noise"), prob=1.0, cache=str(tmp_path / "cache"))
    plain, noisy = make_config(), with_data(make_config(), noise=noise)
    data = TrainingData.open(noisy)
    clean = next(audio_batches(fabric, plain, TrainingData.open(plain), 1))
    whole = audio_batches(fabric, noisy, data, 0)
    next(whole)
    second, again = next(whole), next(audio_batches(fabric, noisy, data, 1))

    assert second.ids == clean.ids == again.ids
    assert not torch.equal(second.waveforms, clean.waveforms)
    assert torch.equal(second.waveforms, again.waveforms)


def test_latest_quarantine_is_the_one_that_the_stage_began_with(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = {"version": 2}
    monkeypatch.setattr("maya_train.data_plan.latest_version", lambda index: newest["version"])
    cfg = with_data(make_config(), quarantine="latest")
    assert plan_config(cfg).filter.quarantine == 2
    pin_quarantine(cfg, 2)
    newest["version"] = 5

    assert plan_config(cfg).filter.quarantine == 2
    assert plan_config(replace(cfg, out_dir=f"{cfg.out_dir}-other")).filter.quarantine == 5


def test_few_rows_for_the_llm_are_so_many_of_each_language_and_always_the_same(make_config: Make) -> None:
    index = TrainingData.open(make_config()).index
    rows = few_rows(index, 2)

    assert sorted(np.asarray(index.lang_ids)[rows].tolist()) == [0, 0, 1, 1, 2, 2]
    assert rows.tolist() == few_rows(index, 2).tolist()
    assert len(few_rows(index, 99)) == len(index)


def test_llm_is_validated_on_few_and_heads_on_all(make_config: Make, fabric: Fabric, corpus: Path) -> None:
    from maya_train.validate import make_validator

    cfg = with_data(make_config(), valid_index=str(corpus / "index"), valid_llm=2)
    heard: dict[str, int] = {}

    def transcribe(batch, heads):
        for head in heads:
            heard[head] = heard.get(head, 0) + len(batch.ids)
        return {head: batch.texts for head in heads}

    task = SimpleNamespace(scored=lambda moment: ["ctc", "llm"], transcribe=transcribe)
    scores = make_validator(fabric, cfg, task)(SimpleNamespace(step=1))  # type: ignore[misc, arg-type]

    assert heard == {"ctc": 18, "llm": 6}
    assert scores["wer"] == {head: {"en": 0.0, "hi": 0.0, "ta": 0.0} for head in ("ctc", "llm")}


def test_data_config_has_every_setting_of_a_plan_that_a_user_may_want() -> None:
    kept_inside = {"seed", "filter", "mix", "tokenizer", "token_buckets", "batch_tokens", "block", "window"}

    assert set(PlanConfig.__dataclass_fields__) - kept_inside <= set(DataConfig.__dataclass_fields__)
