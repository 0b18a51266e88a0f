"""Batch sizes by the real step: the search, and the table that a plan then reads."""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from maya_data.planning.plan import Plan
from maya_train.calibrate import Case, Found, Measured, Trial, calibrate, cases, largest, make_trial, monotone
from maya_train.commands.calibrate import measure, one_stage
from maya_train.data_plan import plan_config
from maya_train.errors import ConfigError
from maya_train.schema import RunConfig
from maya_train.sources import TrainingData

Make = Callable[..., RunConfig]


def steps_of(
    base: float, each: float, memory: float = math.inf
) -> tuple[Callable[[int], Measured | None], list[int]]:
    """A device on which a batch of n takes `base + n * each` bytes."""
    tried: list[int] = []

    def attempt(size: int) -> Measured | None:
        tried.append(size)
        peak = base + size * each
        return None if peak > memory else Measured(size, peak, 1.0)

    return attempt, tried


@pytest.mark.parametrize("first", [1, 7, 40, 500])
@pytest.mark.parametrize(("each", "wanted"), [(1.0, 90), (9.0, 10), (50.0, 1), (0.1, 512)])
def test_largest_size_within_the_budget_is_found_from_any_guess(each: float, wanted: int, first: int) -> None:
    attempt, _ = steps_of(10.0, each)
    best = largest(attempt, budget=100.0, most=512, first=first)

    assert best is not None
    assert wanted * 0.95 - 1 <= best.size <= wanted


def test_size_that_the_device_refuses_is_too_much() -> None:
    attempt, _ = steps_of(10.0, 1.0, memory=70.0)
    best = largest(attempt, budget=100.0, most=512)

    assert best is not None
    assert 56 <= best.size <= 60


def test_no_size_where_one_utterance_is_too_much() -> None:
    attempt, tried = steps_of(10.0, 200.0)

    assert largest(attempt, budget=100.0, most=512, first=16) is None
    assert tried[-1] == 1


def test_size_far_beyond_the_budget_is_not_tried() -> None:
    attempt, tried = steps_of(0.0, 10.0)
    largest(attempt, budget=100.0, most=512)

    assert max(tried) <= 15  # without a limit of its own, a machine would swap


def test_shorter_bucket_never_gets_a_smaller_batch() -> None:
    rows = [Found(1.0, None, 9, 1.0, 1.0), Found(2.0, None, 10, 1.0, 1.0), Found(4.0, None, 4, 1.0, 1.0)]

    assert [row.batch_size for row in monotone(rows)] == [10, 10, 4]


def test_case_of_a_bucket_has_its_longest_text(make_config: Make) -> None:
    cfg = make_config()
    cfg.data.num_buckets = 3
    found = cases(cfg, TrainingData.open(cfg))

    assert [case.max_duration for case in found] == sorted(case.max_duration for case in found)
    assert found[-1].text == "no go in"


def test_trial_is_a_whole_step_that_changes_what_learns(fabric: Fabric, make_config: Make) -> None:
    cfg = make_config()
    trial = make_trial(fabric, cfg, TrainingData.open(cfg), lambda text: None)
    weight = next(trial.task.trained()["encoder"].parameters())
    before = weight.detach().clone()
    measured = trial.step(Case(0.5, None, "go", "en"), 3)

    assert measured.size == 3
    assert measured.peak > 2**20
    assert not torch.equal(weight, before)
    assert all(p.grad is None for p in trial.task.trained()["encoder"].parameters())


def test_out_of_memory_in_a_trial_leaves_the_next_one_alone(
    fabric: Fabric, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = make_config()
    trial = make_trial(fabric, cfg, TrainingData.open(cfg), lambda text: None)
    whole = Trial.step

    def refuse(self: Trial, case: Case, size: int) -> Measured:
        if size > 2:
            raise torch.OutOfMemoryError("no more")
        return replace(whole(self, case, size), peak=1.0)

    monkeypatch.setattr(Trial, "step", refuse)
    found = calibrate(trial, [Case(0.5, None, "go", "en"), Case(1.0, None, "go on", "en")], budget_gib=1.0)

    assert [row.batch_size for row in found] == [2, 2]


def test_too_small_a_budget_is_a_sentence(fabric: Fabric, make_config: Make) -> None:
    cfg = make_config()
    trial = make_trial(fabric, cfg, TrainingData.open(cfg), lambda text: None)

    with pytest.raises(
        ConfigError, match=r"one utterance of 1\.0 s takes more than 0\.0 GiB; lower data\.max"
    ):
        calibrate(trial, [Case(1.0, None, "go on", "en")], budget_gib=1e-6)


def test_table_in_two_dimensions_is_what_the_plan_reads(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = make_config(accelerator="cpu", init_from="/nowhere")
    cfg.data.num_buckets, cfg.data.max_batch_size = 2, 3
    monkeypatch.setattr(Trial, "step", lambda self, case, size: Measured(size, 1.0, 1.0))
    out = Path(cfg.out_dir) / "buckets.json"
    measure(one_stage([cfg]), argparse.Namespace(token_buckets=2, budget=1.0), out)
    table = json.loads(out.read_text())

    assert {row["batch_size"] for row in table["buckets"]} == {3}
    assert all(row["max_tokens"] for row in table["buckets"])
    cfg.data.buckets_file = str(out)
    assert plan_config(cfg).tokenizer == table["tokenizer"]
    plan = Plan(TrainingData.open(cfg).index, plan_config(cfg))
    assert max(len(plan.batch(0, step)) for step in plan.steps(0)) <= 3


def test_one_stage_at_a_time(make_config: Make) -> None:
    with pytest.raises(ConfigError, match="one stage at a time; add stage= with one of acoustic, text_copy"):
        one_stage([make_config(), make_config("text_copy")])
