"""Faults in the middle of training, injected one by one: what is borne, what is said, what ends the run."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric

from maya_data.indexing.segments import SegmentIndex
from maya_data.loading.batch import Batch
from maya_data.loading.quarantine import read_ledger
from maya_data.loading.stream import LoaderProcessDied
from maya_encoder.heads.ctc import CTCConfig
from maya_train import preflight
from maya_train.compose import learnt
from maya_train.counters import Counters
from maya_train.errors import LaunchError
from maya_train.failures import explain
from maya_train.faults import hang, memory
from maya_train.faults.guard import Guard
from maya_train.faults.hang import HangWatch, Stand, describe
from maya_train.faults.memory import Overrun
from maya_train.faults.skips import Diverged
from maya_train.faults_config import FaultsConfig
from maya_train.metrics_log import read_steps
from maya_train.schema import AverageConfig, RunConfig
from maya_train.sources import TrainingData, quarantine_ledger
from maya_train.stages import run_stage
from maya_train.strategies import Capabilities
from maya_train.strategies.ddp import DDP

Make = Callable[..., RunConfig]
Train = Callable[..., Any]


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYA_TEST_FAULTS", "1")


@pytest.fixture
def train(stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path) -> Train:
    """Six steps of the miniature task with some faults; returns the counters."""

    def run(*inject: str, name: str = "run", task: Any = None, **keys: Any) -> Any:
        faults = FaultsConfig(inject=list(inject), **keys.pop("faults", {}))
        return stand_in.train(fabric, tmp_path / name, task, faults=faults, **keys)

    return run


def values(out_dir: Path) -> dict[int, dict[str, Any]]:
    return {
        step: {k: v for k, v in line.items() if k != "time"}
        for step, line in read_steps(out_dir / "metrics.jsonl").items()
    }


def skipped(out_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out_dir / "skipped.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["nan_loss", "inf_loss", "nan_gradient", "oom", "oom_backward"])
def test_a_step_with_a_fault_is_skipped_counted_and_written_down(
    train: Train, stand_in: SimpleNamespace, tmp_path: Path, kind: str
) -> None:
    counters = train(f"{kind}@3")

    assert (counters.skipped, counters.step, counters.batches) == (1, 6, 6)
    lines = values(tmp_path / "run")
    assert [line["skipped"] for line in lines.values()] == [0, 0, 1, 1, 1, 1]
    assert lines[6]["loss"] > 0
    line = skipped(tmp_path / "run")[0]
    assert line["step"] == 3
    assert line["kind"] == ("out of memory" if "oom" in kind else "not finite")
    assert [batch["ids"] for batch in line["batches"]] == [stand_in.batch_number(2).ids]


@pytest.mark.parametrize("kind", ["nan_loss", "oom_backward"])
def test_a_skipped_step_leaves_no_trace_in_weights_averages_and_batch_statistics(
    train: Train, stand_in: SimpleNamespace, tmp_path: Path, kind: str
) -> None:
    """A run in which the second of two steps is skipped ends where its first step has ended."""
    ended = []
    for name, steps, inject in (("one", 1, []), ("two", 2, [f"{kind}@2"])):
        task = stand_in.normed()
        keys = {"max_steps": steps, "average": AverageConfig(ema=0.5), "save_every": 100}
        train(*inject, name=name, task=task, **keys)
        ended.append(task.state_dict())
    one, two = ended
    assert all(torch.equal(one[name], two[name]) for name in one)
    saved = torch.load(tmp_path / "two" / "checkpoints" / "step-2" / "state.pt", weights_only=True)
    assert all(value.isfinite().all() for value in saved["model"].values())


def test_a_run_with_skipped_steps_resumes_bit_for_bit(
    train: Train, stand_in: SimpleNamespace, tmp_path: Path
) -> None:
    inject = ("nan_loss@2", "oom@4", "spike@6")
    keys: dict[str, Any] = {
        "faults": {"spike_factor": 50.0, "spike_steps": 2},
        "average": AverageConfig(ema=0.9),
        "max_steps": 8,
        "valid_every": 1,
    }
    scores = {"validate": lambda moment: {"wer": 1.0}}
    train(*inject, name="whole", task=stand_in.normed(dropout=0.5), **scores, **keys)

    def kill(moment: Any) -> dict[str, float]:
        if moment.step == 5:
            raise Killed
        return {"wer": 1.0}

    with pytest.raises(Killed):
        train(*inject, name="parts", task=stand_in.normed(dropout=0.5), validate=kill, **keys)
    train(*inject, name="parts", task=stand_in.normed(dropout=0.5), **scores, **keys)

    assert values(tmp_path / "parts") == values(tmp_path / "whole")
    assert values(tmp_path / "whole")[8]["skipped"] == 3
    states = [
        torch.load(tmp_path / name / "checkpoints" / "step-8" / "state.pt", weights_only=True)
        for name in ("whole", "parts")
    ]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name])
    assert states[0]["counters"]["budgets"] == states[1]["counters"]["budgets"] != {}


def test_a_run_stops_above_the_limit_of_skipped_steps(train: Train) -> None:
    inject = [f"nan_loss@{step}" for step in (1, 3, 5)]
    with pytest.raises(
        Diverged, match=r"stage toy: 3 steps up to step 5 were skipped.*lower lr.*skipped\.jsonl"
    ):
        train(*inject, faults={"max_skipped": 2})
    with pytest.raises(
        Diverged, match="2 steps in a row up to step 4 did not fit into memory; run `maya-train"
    ):
        train("nan_loss@3", "oom@4", name="other", faults={"max_skips": 2})


def test_a_loss_far_above_the_usual_is_skipped(train: Train, tmp_path: Path) -> None:
    spike = {"spike_factor": 20.0, "spike_steps": 2}
    assert train("spike@2", "spike@5", faults=spike, name="guarded").skipped == 1
    line = skipped(tmp_path / "guarded")[0]
    assert (line["step"], line["kind"]) == (5, "spike")
    assert "times the usual" in line["reason"]
    assert train("spike@5", name="unguarded").skipped == 0


def test_a_loss_that_enters_later_is_no_spike(train: Train, stand_in: SimpleNamespace) -> None:
    class Rising(stand_in.StandIn):
        def forward(self, work: Any, moment: Any) -> Any:
            loss = super().forward(work, moment)
            return loss._replace(loss_sum=loss.loss_sum * (1000 if moment.step >= 4 else 1))

    spike = {"spike_factor": 20.0, "spike_steps": 2}
    assert train(task=Rising(begin=4), faults=spike).skipped == 0
    assert train(task=Rising(), faults=spike, name="other").skipped == 2


def test_weights_that_are_no_numbers_are_never_saved(
    train: Train, stand_in: SimpleNamespace, tmp_path: Path
) -> None:
    class Breaking(stand_in.StandIn):
        def forward(self, work: Any, moment: Any) -> Any:
            loss = super().forward(work, moment)
            if moment.step == 4:
                with torch.no_grad():
                    next(iter(self.trained()["encoder"].parameters())).fill_(float("nan"))
            return loss

    with pytest.raises(Diverged, match=r"after step 6 \S+ is not finite, so no state was saved; go on from"):
        train(task=Breaking(), faults={"max_skips": 9}, save_every=2)

    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"step-2", "step-4"}


def stage_of(make: Make, name: str, **keys: Any) -> RunConfig:
    heads = {"heads": {"ctc": CTCConfig()}, "train": ["encoder", "ctc"], "loss": {"ctc": 1.0}}
    rates = {"encoder": 1e-3, "ctc": 1e-3}
    cfg = make(out_dir=str(Path(make().run_dir) / name), lr=rates, loggers=[], **heads, **keys)
    cfg.data.num_workers = int(bool(cfg.faults.inject))
    return cfg


def test_loader_processes_that_die_are_started_again_and_nothing_is_lost(
    fabric: Fabric, make_config: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("whole", "died")
    for name, inject in zip(names, ([], ["dead_worker@2"]), strict=True):
        cfg = stage_of(make_config, name, faults=FaultsConfig(inject=inject), max_steps=10)
        run_stage(cfg, fabric, Capabilities())
    whole, died = (values(Path(make_config().run_dir) / name) for name in names)

    said = capsys.readouterr().err
    told = r"rank 0, step \d: loader process [\d, ]+ (was killed|ended).*; started again, 1 of 3 times"
    assert re.search(told, said), said
    assert died == whole


def test_loader_processes_that_die_too_often_end_the_run(fabric: Fabric, make_config: Make) -> None:
    cfg = make_config(faults=FaultsConfig(worker_restarts=1))
    guard = Guard(fabric, cfg, torch.nn.Linear(1, 1), Capabilities())
    died = LoaderProcessDied("loader process 7 was killed (Killed), as happens where memory runs out")
    guard.worker_died(3, died)
    with pytest.raises(LoaderProcessDied) as raised:
        guard.worker_died(5, died)
    assert explain(raised.value) == (str(died), 1)


def test_a_damaged_segment_is_left_out_and_listed(
    fabric: Fabric, make_config: Make, corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(corpus, tmp_path / "corpus")
    info = tmp_path / "corpus" / "index" / "index.json"
    info.write_text(info.read_text().replace(str(corpus), str(tmp_path / "corpus")))
    index = SegmentIndex.open(tmp_path / "corpus" / "index")
    cfg = stage_of(make_config, "damaged")
    cfg.data.index = str(index.path)
    damaged = int(TrainingData.open(cfg).plan.batch(0, 1)[0])
    with Path(index.location(damaged)).open("r+b") as shard:
        shard.seek(index.row(damaged).offset)
        shard.write(b"\0" * index.row(damaged).size)
    run_stage(cfg, fabric, Capabilities())

    assert [line["id"] for line in read_ledger(quarantine_ledger(cfg))] == [index.row(damaged).id]
    assert values(Path(cfg.out_dir))[4]["loss"] > 0


def long_batch(number: int, seconds: float = 10.0) -> Batch:
    lens = [seconds, 0.75 * seconds, 0.5 * seconds, 0.5 * seconds]
    return Batch(
        ids=[f"{number}-{row}" for row in range(4)],
        waveforms=torch.arange(4 * 40).reshape(4, 40).to(torch.int16),
        waveform_lens=torch.tensor([int(4 * length) for length in lens]),
        sampling_rate=4,
        texts=["a", "b", "c", "d"],
        langs=["en"] * 4,
        durations=lens,
        step=number,
    )


def test_after_an_overrun_batches_as_long_are_cut_and_shorter_ones_are_not() -> None:
    budgets: dict[int, float] = {}
    assert memory.shrink(budgets, [Overrun.of(0, long_batch(0))], 0.75) == [(memory.bucket_of(10.0), 30.0)]
    parts = memory.cut(long_batch(1), budgets)
    assert [part.ids for part in parts] == [["1-0", "1-1"], ["1-2", "1-3"]]
    assert [tuple(part.waveforms.shape) for part in parts] == [(2, 40), (2, 20)]
    assert torch.equal(parts[1].waveforms, long_batch(1).waveforms[2:, :20])
    assert [part.ids for part in memory.cut(long_batch(1, 20.0), budgets)] == [
        [f"1-{row}"] for row in range(4)
    ]
    assert len(memory.cut(long_batch(1, 5.0), budgets)) == 1

    # A part that does not fit either lowers it again; one utterance alone cannot be cut.
    assert memory.shrink(budgets, [Overrun.of(0, parts[0])], 0.75) == [(memory.bucket_of(10.0), 15.0)]
    assert memory.shrink(budgets, [Overrun(0, 1, 10.0)], 0.75) == []


def test_cut_batches_give_the_same_loss_and_the_same_position(
    train: Train, stand_in: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parts of a batch are one step: it sees the same utterances and divides by the same tokens."""
    counters = train("oom@2", name="cut")
    said = capsys.readouterr().err
    assert (
        "toy: step 2 is skipped: out of memory with 2 utterances up to 1.00 s on rank 0; from now on" in said
    )
    assert "batches are cut: of 1.00 s and longer into parts of at most 1.50 s" in said
    train("nan_loss@2", name="whole")

    cut, whole = values(tmp_path / "cut"), values(tmp_path / "whole")
    assert counters.budgets == {0: 1.5}
    assert counters.batches == 6
    for step in range(3, 7):
        assert cut[step]["tokens"] == whole[step]["tokens"]
        assert cut[step]["loss"] == pytest.approx(whole[step]["loss"], rel=1e-5)
        assert cut[step]["audio_seconds"] == whole[step]["audio_seconds"]


def test_out_of_memory_ends_a_run_that_is_told_to_stop(train: Train) -> None:
    with pytest.raises(torch.OutOfMemoryError) as raised:
        train("oom@2", faults={"out_of_memory": "stop"})
    assert explain(raised.value) == (
        "out of memory: injected; run `maya-train calibrate`, or choose a strategy that shards",
        1,
    )


def test_what_says_that_memory_is_out() -> None:
    assert memory.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert memory.is_out_of_memory(raised.value)
    assert not memory.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_run_that_stands_still_ends_and_leaves_its_stacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    watch = HangWatch(tmp_path, 0.2, left.append)
    with watch:
        watch.at(7, hang.PASSING)
        assert watch._thread is not None
        watch._thread.join(20)
    assert left == [1]
    said = capsys.readouterr().err
    assert said.startswith(
        "no progress for 0.2 s: the run stands in step 7 (forward and backward); the stacks"
    )
    assert "test_a_run_that_stands_still" in (tmp_path / "stacks-rank-0.txt").read_text()


def test_a_run_that_moves_validates_or_is_not_watched_goes_on(tmp_path: Path) -> None:
    left: list[int] = []
    for seconds, place in ((0.0, hang.PASSING), (0.1, hang.SAVING)):
        with HangWatch(tmp_path, seconds, left.append) as watch:
            watch.at(1, place)
            watch._ended.wait(0.3)
    with HangWatch(tmp_path, 0.3, left.append) as watch:
        for step in range(20):
            watch.at(step, hang.PASSING)
            watch._ended.wait(0.03)
    assert left == []


@pytest.mark.parametrize(
    ("stands", "alive", "text"),
    [
        (
            [(5, hang.ADDING), (5, hang.READING)],
            [True, True],
            "rank 0 waits in step 5 (adding up tokens) for rank 1, which stands in step 5 (reading data)",
        ),
        (
            [(5, hang.ADDING), (4, hang.PASSING), (5, hang.ADDING)],
            [True, False, True],
            "rank 0, 2 waits in step 5 (adding up tokens) for rank 1, which stands in step 4 (forward and"
            " backward) and does not answer",
        ),
        (
            [(5, hang.PASSING), (5, hang.PASSING)],
            [True, True],
            "rank 0, 1 stands in step 5 (forward and backward)",
        ),
        (
            [(5, hang.ADDING), None],
            [True, False],
            "rank 0 waits in step 5 (adding up tokens) for rank 1, which has said nothing yet and does not"
            " answer",
        ),
    ],
)
def test_who_waits_for_whom(stands: list[Any], alive: list[bool], text: str) -> None:
    assert describe([stand and Stand(*stand, 0) for stand in stands], alive) == text


def test_injecting_is_for_tests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAYA_TEST_FAULTS")
    with pytest.raises(ValueError, match="`inject` makes faults for tests and needs MAYA_TEST_FAULTS=1"):
        FaultsConfig(inject=["oom@3"])
    monkeypatch.setenv("MAYA_TEST_FAULTS", "1")
    assert [tuple(one) for one in FaultsConfig(inject=["oom@3:1"]).injections()] == [("oom", 3, 1)]
    for text in ("oom", "oom@0", "oom@x", "oom@1:x", "fire@1"):
        with pytest.raises(ValueError, match="`inject` takes kind@step"):
            FaultsConfig(inject=[text])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"max_skips": 0}, "`max_skips` must be 1 or more, got 0"),
        ({"max_skipped": -1}, "`max_skipped` must be 0 or more"),
        ({"spike_factor": 1.0}, "`spike_factor` must be more than 1, got 1.0"),
        ({"spike_steps": 5}, "`spike_steps` has no effect without `spike_factor`"),
        ({"shrink": 1.0}, "`shrink` must be between 0 and 1, got 1.0"),
        ({"shrink": 0.5, "out_of_memory": "stop"}, "`shrink` has no effect with `out_of_memory=stop`"),
        ({"worker_restarts": -1}, "`worker_restarts` must be 0 or more"),
        ({"hang_minutes": -1.0}, "`hang_minutes` must be 0 or more"),
        ({"desync_every": -1}, "`desync_every` must be 0 or more"),
    ],
)
def test_impossible_settings_are_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaultsConfig(**keys)


@pytest.mark.parametrize(
    ("keys", "shares_model"),
    [
        ({"out_of_memory": "skip"}, True),
        ({"shrink": 0.5}, True),
        ({"desync_every": 10}, True),
        ({"hang_minutes": 30.0}, False),
    ],
)
def test_settings_without_effect_under_the_strategy_are_refused(
    keys: dict[str, Any], shares_model: bool
) -> None:
    given = FaultsConfig(**keys)
    with pytest.raises(ValueError, match=f"`faults.{next(iter(keys))}`"):
        given.check_strategy(shares_model=shares_model, timeout_minutes=DDP().timeout_minutes)
    FaultsConfig().check_strategy(shares_model=shares_model, timeout_minutes=1.0)


def test_the_watch_speaks_before_the_strategy_does() -> None:
    assert FaultsConfig().hang_seconds(30.0) == 20 * 60
    assert FaultsConfig().hang_seconds(3.0) == pytest.approx(2 * 60)
    assert FaultsConfig().hang_seconds(None) == 20 * 60
    assert FaultsConfig(hang_minutes=0.0).hang_seconds(30.0) == 0


def test_faults_are_no_part_of_what_a_stage_learns_but_the_spike_guard(make_config: Make) -> None:
    plain = learnt(make_config())
    assert not any(key.startswith("faults") for key in plain)
    watched = FaultsConfig(max_skips=3, max_skipped=9, worker_restarts=0, hang_minutes=1.0, desync_every=5)
    assert learnt(make_config(faults=watched)) == plain
    assert learnt(make_config(faults=FaultsConfig(shrink=0.5))) == plain
    assert learnt(make_config(faults=FaultsConfig(spike_factor=9.0))) != plain


def test_a_state_of_before_there_were_budgets_is_read() -> None:
    assert Counters(step=3, batches=3).budgets == {}


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_a_folder_that_cannot_be_written_is_found_before_training(
    make_config: Make, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(
        LaunchError, match=r"stage acoustic: out_dir: .*run cannot be written \(.*\); give another"
    ):
        preflight.check_folders([make_config(out_dir=str(tmp_path / place))])
    preflight.check_folders([make_config(out_dir=str(tmp_path / "new" / "run"))])
    assert not (tmp_path / "new").exists()


def test_a_sharing_strategy_is_left_alone(make_config: Make, fabric: Fabric) -> None:
    guard = Guard(fabric, make_config(), torch.nn.Linear(1, 1), Capabilities(sharded=True))
    with pytest.raises(torch.OutOfMemoryError), guard.noticing(SimpleNamespace(batch=None)):
        raise torch.OutOfMemoryError("full")
    assert guard.cut(long_batch(0), Counters(budgets={0: 1.0}))[0].num_utterances == 4
    assert math.isclose(guard.watch._seconds, 1200)
