"""What a run goes on from: exact after a kill, passed over where broken, averaged, saved asynchronously."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from maya_train.best import score_of
from maya_train.checkpoints import BrokenCheckpoint, files, folders
from maya_train.ema import MovingAverage, RunningMean
from maya_train.errors import ConfigError
from maya_train.metrics_log import read_steps
from maya_train.schema import AverageConfig, RunConfig
from maya_train.strategies import Capabilities
from maya_train.training_state import TrainingState


class Killed(BaseException):
    pass


@pytest.fixture(scope="session")
def normed(stand_in: SimpleNamespace) -> Callable[..., Any]:
    """The miniature task with a BatchNorm in its middle, so that it has statistics to save."""
    return stand_in.normed


def values(out_dir: Path) -> dict[int, dict[str, Any]]:
    lines = read_steps(out_dir / "metrics.jsonl")
    return {step: {k: v for k, v in line.items() if k != "time"} for step, line in lines.items()}


def weights(task: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("settings", [{}, {"save_async": True}, {"average": AverageConfig(ema=0.9)}])
def test_killed_and_resumed_run_ends_as_a_whole_one(
    stand_in: SimpleNamespace, normed: Any, fabric: Fabric, tmp_path: Path, settings: dict[str, Any]
) -> None:
    keys = {"max_steps": 7, "valid_every": 1, **settings}
    whole, killed = normed(dropout=0.5), normed(dropout=0.5)
    scores: list[dict[str, Any]] = []

    def score(task: nn.Module) -> Callable[[Any], dict[str, Any]]:
        def validate(moment: Any) -> dict[str, Any]:
            if moment.step == 5 and task is killed:
                raise Killed
            scores.append({name: value.sum().item() for name, value in task.state_dict().items()})
            return {}

        return validate

    stand_in.train(fabric, tmp_path / "whole", whole, validate=score(whole), **keys)
    with pytest.raises(Killed):
        stand_in.train(fabric, tmp_path / "parts", killed, validate=score(killed), **keys)
    resumed = normed(dropout=0.5)
    stand_in.train(fabric, tmp_path / "parts", resumed, validate=score(resumed), **keys)

    assert values(tmp_path / "parts") == values(tmp_path / "whole")
    assert same(weights(whole), weights(resumed))
    assert scores[:7] == [*scores[7:11], *scores[11:]]


def test_a_torn_or_damaged_state_is_passed_over_and_named(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"keep_last": 9, "save_every": 1}
    stand_in.train(fabric, tmp_path / "whole", **keys)
    shutil.copytree(tmp_path / "whole", tmp_path / "torn")
    checkpoints = tmp_path / "torn" / "checkpoints"
    (checkpoints / "step-6" / "COMPLETE").unlink()
    (checkpoints / "step-5" / "rank-0.pt").unlink()
    (checkpoints / "step-4" / "state.pt").write_bytes(b"short")
    content = bytearray((checkpoints / "step-3" / "state.pt").read_bytes())
    content[1000] ^= 255
    (checkpoints / "step-3" / "state.pt").write_bytes(content)
    stand_in.train(fabric, tmp_path / "torn", **keys)

    said = capsys.readouterr().err
    for step, reason in ((6, "no COMPLETE"), (5, "rank-0.pt is missing"), (4, "has 5 bytes"), (3, "damaged")):
        assert f"step-{step} is passed over" in said
        assert reason in said
    assert "goes on after step 2" in said
    assert values(tmp_path / "torn") == values(tmp_path / "whole")
    assert all(folders.fault(path) is None for path in folders.newest_first(checkpoints))


def test_a_state_of_an_older_version_is_passed_over(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.train(fabric, tmp_path, max_steps=1)
    mark = tmp_path / "checkpoints" / "step-1" / "COMPLETE"
    mark.write_text(json.dumps({"step": 1, "world_size": 1, "files": {}}))
    stand_in.train(fabric, tmp_path, max_steps=1)

    assert "step-1 is passed over" in capsys.readouterr().err


def test_the_state_of_another_model_is_an_error(
    stand_in: SimpleNamespace, normed: Any, fabric: Fabric, tmp_path: Path
) -> None:
    stand_in.train(fabric, tmp_path)
    with pytest.raises(BrokenCheckpoint, match="is of another model"):
        stand_in.train(fabric, tmp_path, normed())


def test_a_disk_that_fills_up_stops_the_run_and_leaves_the_last_state(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, write = [0], torch.save

    def fills_up(state: object, file: Any) -> None:
        number[0] += 1
        if number[0] > 2:  # two files a state
            raise OSError(28, "No space left on device")
        write(state, file)

    for is_async in (False, True):
        number[0] = 0
        out_dir = tmp_path / str(is_async)
        monkeypatch.setattr(torch, "save", fills_up)
        with pytest.raises(OSError, match="earlier ones are whole"):
            stand_in.train(fabric, out_dir, max_steps=500, save_every=2, save_async=is_async)
        monkeypatch.setattr(torch, "save", write)
        assert [path.name for path in (out_dir / "checkpoints").iterdir()] == ["step-2"]
        assert len(values(out_dir)) < 400
        stand_in.train(fabric, out_dir, max_steps=5)


def test_best_states_are_kept_and_their_mean_is_handed_on(
    stand_in: SimpleNamespace, normed: Any, fabric: Fabric, tmp_path: Path
) -> None:
    rates = {1: 0.5, 2: 0.2, 3: 0.4, 4: 0.1, 5: 0.3, 6: 0.6}
    task = normed()
    stand_in.train(
        fabric,
        tmp_path,
        task,
        validate=lambda moment: {"mean": {"ctc": {"wer": 9.0, "cer": rates[moment.step]}}},
        valid_every=1,
        save_every=100,
        keep_last=1,
        best_by="cer",
        average=AverageConfig(best=2),
    )

    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-2", "step-4", "step-6"]
    states = [files.read(tmp_path / "checkpoints" / name / "state.pt")["model"] for name in kept[:2]]
    for name, value in task.state_dict().items():
        wanted = states[1][name] if "num_batches" in name else (states[0][name] + states[1][name]) / 2
        torch.testing.assert_close(value, wanted)


def test_the_mean_of_the_last_states_is_handed_on(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    task, keys = stand_in.StandIn(), {"save_every": 2, "keep_last": 1, "average": AverageConfig(last=3)}
    stand_in.train(fabric, tmp_path, task, **keys)
    states = [files.read(path / "state.pt")["model"] for path in (tmp_path / "checkpoints").iterdir()]

    assert len(states) == 3
    for name, value in task.state_dict().items():
        torch.testing.assert_close(value, torch.stack([state[name] for state in states]).mean(0))
    again = stand_in.StandIn()
    stand_in.train(fabric, tmp_path, again, **keys)  # killed before its model was written
    assert same(weights(task), weights(again))


def test_no_validation_to_choose_the_best_by_is_one_sentence(
    stand_in: SimpleNamespace, fabric: Fabric, tmp_path: Path
) -> None:
    with pytest.raises(BrokenCheckpoint, match="has a score; set valid_every"):
        stand_in.train(fabric, tmp_path, average=AverageConfig(best=2))


def test_a_moving_average_follows_its_formula_and_is_only_shown() -> None:
    module = nn.Linear(2, 1)
    module.bias.requires_grad_(False)
    average, expected = MovingAverage(module, 0.3), module.weight.detach().clone()
    for number in range(1, 6):
        with torch.no_grad():
            module.weight.add_(number)
        average.update()
        decay = min(0.3, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    own = module.weight.detach().clone()
    with average.shown():
        torch.testing.assert_close(module.weight.detach(), expected)
    assert torch.equal(module.weight, own)
    average.adopt()
    torch.testing.assert_close(module.weight.detach(), expected)


def test_a_moving_average_of_half_precision_is_kept_in_float32() -> None:
    module = nn.Linear(64, 1, bias=False, dtype=torch.bfloat16)
    average, start = MovingAverage(module, 0.999), module.weight.detach().float()
    average.updates = 100_000
    for _ in range(20):
        with torch.no_grad():
            module.weight.add_(0.01)
        average.update()
    mean = average.tensors()["weight"]
    assert mean.dtype == torch.float32
    assert (mean > start).all()
    own = module.weight.detach().clone()
    with average.shown():
        pass
    assert torch.equal(module.weight, own)


def test_a_mean_of_states_takes_whole_numbers_from_the_newest() -> None:
    mean = RunningMean()
    mean.add({"a": torch.tensor([1.0]), "n": torch.tensor(7)})
    mean.add({"a": torch.tensor([2.0]), "n": torch.tensor(3)})

    assert (mean.state()["a"].item(), mean.state()["n"].item()) == (1.5, 7)


def test_a_score_is_found_by_name_or_path() -> None:
    scores = {"mean": {"ctc": {"wer": 0.4}, "rnnt": {"wer": 0.2}}, "wer": {"ctc": {"hi": 0.7}}}

    assert score_of(scores, "wer") == pytest.approx(0.3)
    assert score_of(scores, "wer.ctc.hi") == 0.7
    with pytest.raises(ValueError, match=r"`best_by`: wer\.rnnt: a validation has no 'rnnt' there, but: ctc"):
        score_of(scores, "wer.rnnt")
    with pytest.raises(ValueError, match="is no number"):
        score_of(scores, "wer.ctc")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ema": 1.0}, "`ema` must be 0 or more and less than 1, got 1.0"),
        ({"last": -1}, "`last` must be 0 or more, got -1"),
        ({"ema": 0.9, "best": 2}, "one kind of mean at a time: unset `ema` or `best`"),
    ],
)
def test_impossible_averages_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AverageConfig(**settings)


class Engine(nn.Module):
    """As much of DeepSpeed's engine as writes and reads."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def save_checkpoint(self, folder: str, tag: str, **keys: Any) -> None:
        assert keys == {"save_latest": False, "exclude_frozen_parameters": True}
        (Path(folder) / tag).mkdir()
        torch.save(self.module.state_dict(), Path(folder) / tag / "states.pt")

    def load_checkpoint(self, folder: str, tag: str, load_module_strict: bool) -> tuple[str, None]:
        self.module.load_state_dict(torch.load(Path(folder) / tag / "states.pt"))
        return folder, None


def test_an_engine_writes_and_reads_its_weights_itself(fabric: Fabric, tmp_path: Path) -> None:
    def state_of(**keys: Any) -> tuple[nn.Module, TrainingState]:
        module = nn.Linear(2, 1)
        cfg = RunConfig(train=[], out_dir=str(tmp_path), save_async=True, **keys)
        wrapped = SimpleNamespace(module=module, _forward_module=Engine(module))
        return module, TrainingState(fabric, cfg, wrapped, None, Capabilities())

    module, state = state_of(average=AverageConfig(ema=0.5))
    state.after_update()
    state.save(3, {"step": 3})
    again, other = state_of(average=AverageConfig(ema=0.5))
    resumed = other.resume(print)

    assert resumed is not None
    assert resumed.counters == {"step": 3}
    assert torch.equal(again.weight, module.weight)  # type: ignore[arg-type]
    assert other.ema is not None
    assert other.ema.updates == 1
    with pytest.raises(ConfigError, match=r"`average\.best` is not offered"):
        state_of(average=AverageConfig(best=2))
    plain = SimpleNamespace(module=nn.Linear(2, 1))
    cfg = RunConfig(train=[], out_dir=str(tmp_path))
    with pytest.raises(BrokenCheckpoint, match="was written under strategy=deepspeed"):
        TrainingState(fabric, cfg, plain, None, Capabilities()).resume(print)
    (tmp_path / "checkpoints" / "step-3" / "engine" / "states.pt").unlink()
    assert state_of()[1].resume(print) is None
