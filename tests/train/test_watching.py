"""What is kept of a run to look at: gauges, loggers, curves, and where it comes from."""

import csv
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from lightning.fabric import Fabric

from maya_train import loggers, provenance
from maya_train.gauges import by_lang, flat, memory_in_use, padding
from maya_train.loggers import MissingPackage
from maya_train.loggers.background import Background
from maya_train.loggers.csv_file import CsvFile
from maya_train.loggers.tensorboard import TensorBoard
from maya_train.loggers.wandb_run import WandbRun
from maya_train.plots import draw, thin
from maya_train.schema import RunConfig
from maya_train.sources import TrainingData
from maya_train.tasks import Moment
from maya_train.tasks.acoustic import AcousticTask

Make = Callable[..., RunConfig]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_loss_by_language_sums_to_the_loss_of_the_head(make_config: Make, fabric: Fabric) -> None:
    from maya_train.build import build_acoustic
    from maya_train.sources import audio_batches

    cfg = make_config()
    task = AcousticTask(build_acoustic(cfg), cfg.train, {"ctc": 1.0, "rnnt": 0.5})
    work = task.prepare(next(audio_batches(fabric, cfg, TrainingData.open(cfg), 0)))
    loss = task(work, Moment(0, 1))

    for head in ("ctc", "rnnt"):
        by = [value for name, value in loss.counts.items() if name.startswith(f"by_lang/{head}/")]
        assert sum(by) == pytest.approx(float(loss.parts[head]), rel=1e-5)
    tokens = {name: int(value) for name, value in loss.counts.items() if "tokens" in name}
    assert sum(tokens.values()) == work.num_tokens
    assert set(tokens) == {f"by_lang/tokens/{lang}" for lang in cfg.langs}


def test_sums_by_language_become_losses_by_token_of_the_languages_that_were_there() -> None:
    record = {"loss": 1.0, "by_lang/ctc/hi": 6.0, "by_lang/ctc/en": 0.0, "by_lang/tokens/hi": 4.0}
    by_lang(record | {"by_lang/tokens/en": 0.0})
    record["by_lang/tokens/en"] = 0.0
    by_lang(record)

    assert record == {"loss": 1.0, "by_lang": {"ctc": {"hi": 1.5}}}


def test_gauges_are_in_the_record_of_every_step(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    stand_in.train(fabric, tmp_path, max_steps=2, log_every=1)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])

    assert set(line["time"]) == {"step", "data", "padding", "memory_gib"}
    assert line["time"]["memory_gib"] > 0.05
    assert memory_in_use(torch.device("cpu")) < 100
    works = [SimpleNamespace(batch=SimpleNamespace(durations=[1.0, 3.0]))]
    assert padding(works) == pytest.approx(2 / 6)  # type: ignore[arg-type]


def test_csv_has_each_logged_step_once_also_after_a_resume(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    table = CsvFile(tmp_path / "metrics.csv")
    table.write(2, {"loss": 3.0})
    table.write(4, {"loss": 2.0})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,1")  # killed in the middle of a line
    again = CsvFile(tmp_path / "metrics.csv")
    again.resume(3)
    again.write(4, {"loss": 2.0, "valid/wer/ctc/hi": 0.5})

    found = rows(tmp_path / "metrics.csv")
    assert [row["step"] for row in found] == ["2", "4"]
    assert [row["valid/wer/ctc/hi"] for row in found] == ["", "0.5"]


def test_run_leaves_a_csv_and_curves(stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path) -> None:
    scores = {"wer": {"ctc": {"hi": 0.5, "en": 0.25}}, "cer": {"ctc": {"hi": 0.2}}, "summary": "fine"}
    stand_in.train(fabric, tmp_path, max_steps=6, log_every=2, valid_every=3, validate=lambda moment: scores)

    found = rows(tmp_path / "metrics.csv")
    assert sorted({int(row["step"]) for row in found}) == [2, 3, 4, 6]
    assert {row["valid/wer/ctc/en"] for row in found} == {"", "0.25"}
    page = (tmp_path / "curves.html").read_text()
    for title in ("Loss", "Gradient norm", "Learning rate", "Word error rate", "Hours of audio an hour"):
        assert f"<h2>{title}</h2>" in page
    assert "wer/ctc/hi" in page
    assert "nan" not in page.lower().replace("nancy", "")


def test_curves_are_thinned_to_means() -> None:
    points = [(float(x), float(x % 2)) for x in range(10_000)]
    kept = thin(points, most=100)

    assert len(kept) == 100
    assert {y for _, y in kept} == {0.5}


def test_no_curves_without_a_step(tmp_path: Path) -> None:
    draw(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"event": "resume", "step": 0}\n')
    draw(tmp_path)

    assert not (tmp_path / "curves.html").exists()


class Slow:
    """Takes its time, or fails."""

    def __init__(self, seconds: float = 0.0, error: Exception | None = None):
        self.seconds, self.error, self.steps = seconds, error, []

    def write(self, step: int, values: dict[str, float]) -> None:
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        self.steps.append(step)

    def resume(self, step: int) -> None: ...

    def close(self) -> None: ...


def test_slow_logger_does_not_hold_up_training() -> None:
    slow = Slow(seconds=0.2)
    background = Background([("slow", slow)], lambda text: None)
    started = time.perf_counter()
    for step in range(5):
        background.call(lambda logger, step=step: logger.write(step, {}))  # type: ignore[misc]
    asked = time.perf_counter() - started
    background.close()

    assert asked < 0.1
    assert slow.steps == [0, 1, 2, 3, 4]


def test_failing_logger_is_left_out_and_said_once() -> None:
    said: list[str] = []
    broken, fine = Slow(error=OSError("no route to host")), Slow()
    background = Background([("broken", broken), ("fine", fine)], said.append)
    for step in range(3):
        background.call(lambda logger, step=step: logger.write(step, {}))  # type: ignore[misc]
    background.close()

    assert fine.steps == [0, 1, 2]
    assert said == ["broken: left out from here on: OSError: no route to host"]


def test_logger_that_hangs_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("maya_train.loggers.background.LAST_WAIT", 0.1)
    release = threading.Event()
    hung = SimpleNamespace(write=lambda step, values: release.wait(10), resume=None, close=lambda: None)
    background = Background([("hung", hung)], said.append)  # type: ignore[list-item]
    background.call(lambda logger: logger.write(1, {}))
    background.close()
    release.set()

    assert said == ["loggers: too slow, some of their lines are missing; metrics.jsonl has all"]


class EventFile:
    """A stand-in for SummaryWriter."""

    made: ClassVar[list["EventFile"]] = []

    def __init__(self, folder: str, purge_step: int | None = None):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
        EventFile.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def test_tensorboard_forgets_the_steps_that_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("tensorboardX")
    module.SummaryWriter = EventFile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    EventFile.made.clear()
    board = TensorBoard(tmp_path)
    board.resume(4)
    board.write(5, {"lr/encoder": 0.1})
    board.close()

    assert [(file.purge_step, file.scalars, file.closed) for file in EventFile.made] == [
        (5, [("lr/encoder", 0.1, 5)], True)
    ]


def test_wandb_continues_the_run_of_a_resumed_stage(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Any]] = []
    logged: list[Any] = []
    run = SimpleNamespace(log=lambda values, step: logged.append((step, values)), finish=lambda: None)
    module = ModuleType("wandb")
    module.init = lambda **keys: started.append(keys) or run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    for _ in range(2):
        logger = WandbRun(make_config(), tmp_path)
        logger.write(3, {"loss": 1.0})
        logger.close()

    assert started[0]["id"] == started[1]["id"]
    assert started[0]["resume"] == "allow"
    assert logged == [(3, {"loss": 1.0})] * 2


@pytest.mark.parametrize(("name", "line"), [("wandb", "maya-train[wandb]"), ("tensorboard", "tensorboardX")])
def test_missing_package_is_named_with_its_install_line(
    name: str, line: str, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("wandb", "tensorboardX", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingPackage, match=line.replace("[", r"\[")):
        loggers.make(name, make_config(), tmp_path)


def test_training_goes_on_without_a_missing_package(
    stand_in: SimpleNamespace,
    fabric: Fabric,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    stand_in.train(fabric, tmp_path, max_steps=1, loggers=["wandb"])

    assert "toy: no wandb: pip install maya-train[wandb]" in capsys.readouterr().err


def test_unknown_logger_is_refused() -> None:
    with pytest.raises(ValueError, match="`loggers` has 'mlflow'; there are: csv, tensorboard, wandb"):
        RunConfig(train=[], loggers=["mlflow"])


def test_numbers_of_a_record_by_path() -> None:
    assert flat({"loss": 1, "lr": {"a": 0.5}, "summary": "x", "event": None}) == {"loss": 1.0, "lr/a": 0.5}


def test_every_start_writes_down_where_it_comes_from(tmp_path: Path) -> None:
    provenance.record(tmp_path)
    provenance.record(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "provenance.jsonl").read_text().splitlines()]

    assert len(lines) == 2
    assert lines[0]["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert {"command", "git", "gpus", "python", "time"} <= set(lines[0])


def test_git_state_says_what_was_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True, capture_output=True)

    assert provenance.git_state(tmp_path) is None
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    clean = provenance.git_state(tmp_path)
    (tmp_path / "a").write_text("2")

    assert clean is not None
    assert not clean["dirty"]
    assert provenance.git_state(tmp_path) == {**clean, "dirty": True}
