"""Training state on disk: whole or not there, the newest kept, and only what training changes."""

import errno
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from maya_train import checkpoint
from maya_train.randomness import random_state, restore_random_state


def save(fabric: Fabric, root: Path, step: int, keep: int = 2) -> Path:
    folder = root / f"step-{step}"
    checkpoint.save(fabric, folder, {"value": torch.tensor(step)}, random_state(), keep)
    return folder


def test_newest_are_kept_and_loaded(fabric: Fabric, tmp_path: Path) -> None:
    for step in (2, 4, 10):
        save(fabric, tmp_path, step)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-4"]
    latest = checkpoint.latest(tmp_path)
    assert latest is not None
    assert int(checkpoint.load(latest, 0, 1)[0]["value"]) == 10


def test_state_without_its_mark_or_cut_short_is_passed_over(fabric: Fabric, tmp_path: Path) -> None:
    for step in (2, 4, 6):
        save(fabric, tmp_path, step, keep=3)
    (tmp_path / "step-6" / "COMPLETE").unlink()
    with (tmp_path / "step-4" / "state.pt").open("r+b") as file:
        file.truncate(100)

    assert checkpoint.latest(tmp_path) == tmp_path / "step-2"


def test_half_written_state_is_cleared_away(fabric: Fabric, tmp_path: Path) -> None:
    (tmp_path / ".step-1.part").mkdir()
    save(fabric, tmp_path, 2)

    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


def test_full_disk_is_one_sentence_and_leaves_the_last_state(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(fabric, tmp_path, 2)

    def full(state: object, file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"could not be written .* earlier ones are whole"):
        save(fabric, tmp_path, 4)

    assert checkpoint.latest(tmp_path) == tmp_path / "step-2"


def test_other_number_of_processes_gets_no_random_state(fabric: Fabric, tmp_path: Path) -> None:
    folder = save(fabric, tmp_path, 2)

    assert checkpoint.load(folder, 0, 2)[1] is None


def test_random_streams_go_on_where_they_were(fabric: Fabric, tmp_path: Path) -> None:
    own = checkpoint.load(save(fabric, tmp_path, 2), 0, 1)[1]
    assert own is not None
    restore_random_state(own)
    first = torch.rand(3)
    restore_random_state(own)

    assert torch.equal(torch.rand(3), first)


def test_frozen_weights_and_their_buffers_are_left_out() -> None:
    module = nn.ModuleDict({"frozen": nn.BatchNorm1d(2), "live": nn.BatchNorm1d(2)})
    module["frozen"].requires_grad_(False)

    names = checkpoint.changing_state(module)
    assert {name.split(".")[0] for name in names} == {"live"}
    assert "live.running_mean" in names


def test_a_frozen_tied_weight_is_left_out_under_both_of_its_names() -> None:
    module = nn.ModuleDict({"embed": nn.Embedding(3, 2), "lm_head": nn.Linear(2, 3, bias=False)})
    module["lm_head"].weight = module["embed"].weight
    module.requires_grad_(False)

    assert checkpoint.changing_state(module) == {}


def test_state_of_another_model_names_the_tensor() -> None:
    with pytest.raises(
        checkpoint.BrokenCheckpoint, match=r"step-2 .*weight has shape \(3, 2\), the model wants \(4, 2\)"
    ):
        checkpoint.load_changing_state(nn.Linear(2, 4), nn.Linear(2, 3).state_dict(), Path("step-2"))
