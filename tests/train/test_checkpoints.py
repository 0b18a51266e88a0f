"""Folders of training states: whole or passed over, the newest and the best kept, on disk as in memory."""

import errno
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from maya_train.checkpoints import BrokenCheckpoint, files, folders
from maya_train.checkpoints.folders import Kept
from maya_train.checkpoints.peers import Peers
from maya_train.checkpoints.saver import Parts, Saver
from maya_train.checkpoints.staging import Staging
from maya_train.checkpoints.weights import changing_state, load_changing_state
from maya_train.randomness import random_state, restore_random_state


@pytest.fixture
def save(fabric: Fabric, tmp_path: Path) -> Any:
    """Save step N under `tmp_path`."""

    def save(step: int, keep: int = 2, best: int = 0, score: float | None = None, **state: Any) -> Path:
        saver = Saver(tmp_path, Peers(fabric), Kept(last=keep, best=best))
        saver.save(step, Parts(files={"state.pt": {"value": torch.tensor(step), **state}}), score)
        return tmp_path / f"step-{step}"

    return save


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_newest_are_kept_and_read(save: Any, tmp_path: Path) -> None:
    for step in (2, 4, 10):
        save(step)

    assert names(tmp_path) == ["step-10", "step-4"]
    newest = folders.latest(tmp_path)
    assert newest is not None
    assert int(files.read(newest / "state.pt")["value"]) == 10


def test_best_are_kept_besides_the_newest(save: Any, tmp_path: Path) -> None:
    for step, score in ((1, 0.5), (2, 0.1), (3, 0.3), (4, None), (5, 0.4), (6, None)):
        save(step, keep=1, best=2, score=score)

    assert names(tmp_path) == ["step-2", "step-3", "step-6"]
    assert folders.best(folders.newest_first(tmp_path), 2) == [tmp_path / "step-2", tmp_path / "step-3"]


def test_a_state_that_is_not_whole_does_not_count_as_kept(save: Any, tmp_path: Path) -> None:
    for step in (2, 4):
        save(step)
    (tmp_path / "step-4" / "COMPLETE").unlink()
    save(6)

    assert names(tmp_path) == ["step-2", "step-6"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "COMPLETE").unlink(), "it has no COMPLETE file"),
        (lambda folder: (folder / "COMPLETE").write_text('{"format": 2, "fi'), "it has no COMPLETE file"),
        (lambda folder: (folder / "COMPLETE").write_text("[]"), "it has no COMPLETE file"),
        (
            lambda folder: (folder / "COMPLETE").write_text('{"step": 4, "files": {}}'),
            "it has no COMPLETE file",
        ),
        (lambda folder: (folder / "state.pt").unlink(), "state.pt is missing"),
        (lambda folder: (folder / "state.pt").write_bytes(b"x" * 100), "state.pt has 100 bytes of "),
    ],
)
def test_a_state_of_which_something_is_missing_is_passed_over(
    save: Any, tmp_path: Path, harm: Any, said: str
) -> None:
    for step in (2, 4):
        save(step)
    harm(tmp_path / "step-4")

    assert folders.latest(tmp_path) == tmp_path / "step-2"
    assert said in str(folders.fault(tmp_path / "step-4"))


def test_a_byte_that_has_changed_is_found(save: Any) -> None:
    folder = save(2, noise=torch.rand(1000))
    assert folders.damage(folder) is None
    content = bytearray((folder / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "state.pt").write_bytes(content)

    assert folders.fault(folder) is None
    assert folders.damage(folder) == "state.pt is damaged"


def test_what_a_killed_run_left_half_written_is_cleared_away(save: Any, tmp_path: Path) -> None:
    (tmp_path / ".step-1.part").mkdir()
    (tmp_path / ".step-1.part" / "state.pt").write_bytes(b"half")
    save(2)

    assert names(tmp_path) == ["step-2"]


def test_a_full_disk_is_one_sentence_and_leaves_the_last_state(
    save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(2)

    def full(state: object, file: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"could not be written .* earlier ones are whole") as stopped:
        save(4)

    assert stopped.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["step-2"]
    assert folders.latest(tmp_path) == tmp_path / "step-2"


def test_what_would_not_be_read_back_is_not_saved(save: Any, tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match="cannot be read back: it holds a pathlib"):
        save(2, folder=tmp_path)

    assert names(tmp_path) == []


def test_the_mark_names_step_processes_score_and_files(save: Any) -> None:
    mark = json.loads((save(3, score=0.25) / "COMPLETE").read_text())

    assert (mark["step"], mark["world_size"], mark["score"]) == (3, 1, 0.25)
    assert list(mark["files"]) == ["state.pt"]


class Slow:
    """A `torch.save` that waits, and may fail."""

    def __init__(self, error: OSError | None = None) -> None:
        self.is_open, self._save, self._error = False, torch.save, error

    def __call__(self, state: object, file: Any) -> None:
        while not self.is_open:
            time.sleep(0.001)
        if self._error is not None:
            raise self._error
        self._save(state, file)


def test_in_the_background_the_state_of_the_moment_is_written(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, weight = Slow(), torch.ones(3)
    monkeypatch.setattr(torch, "save", slow)
    saver = Saver(tmp_path, Peers(fabric), Kept(last=1), in_background=True)
    saver.save(1, Parts(files={"state.pt": {"weight": weight, "same": weight}}))
    weight.fill_(2)
    assert not (tmp_path / "step-1").exists()
    slow.is_open = True
    saver.wait()
    saver.close()

    state = files.read(tmp_path / "step-1" / "state.pt")
    assert state["weight"].tolist() == [1, 1, 1]
    assert state["same"].data_ptr() == state["weight"].data_ptr()


def test_what_fails_in_the_background_is_seen_and_raised(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(OSError(errno.ENOSPC, "full"))
    monkeypatch.setattr(torch, "save", slow)
    saver = Saver(tmp_path, Peers(fabric), Kept(last=1), in_background=True)
    saver.save(1, Parts(files={"state.pt": {}}))
    assert not saver.has_failed
    slow.is_open = True
    saver.close()

    assert saver.has_failed
    with pytest.raises(OSError, match="earlier ones are whole"):
        saver.save(2, Parts(files={"state.pt": {}}))
    assert names(tmp_path) == []


def test_staging_uses_the_same_memory_again() -> None:
    staging, state = Staging(), {"a": [torch.ones(2), 3], "b": {"c": torch.zeros(0)}}
    first = staging.copy(state)
    second = staging.copy(state)

    assert first["a"][0].data_ptr() == second["a"][0].data_ptr() != state["a"][0].data_ptr()  # type: ignore[index, union-attr]
    assert second["a"][1] == 3


def test_random_streams_go_on_where_they_were(tmp_path: Path) -> None:
    files.write(tmp_path / "rank-0.pt", random_state())
    own = files.read(tmp_path / "rank-0.pt")
    restore_random_state(own)
    first = torch.rand(3)
    restore_random_state(own)

    assert torch.equal(torch.rand(3), first)


def test_frozen_weights_and_their_buffers_are_left_out() -> None:
    module = nn.ModuleDict({"frozen": nn.BatchNorm1d(2), "live": nn.BatchNorm1d(2)})
    module["frozen"].requires_grad_(False)

    found = changing_state(module)
    assert {name.split(".")[0] for name in found} == {"live"}
    assert "live.running_mean" in found


def test_a_frozen_tied_weight_is_left_out_under_both_of_its_names() -> None:
    module = nn.ModuleDict({"embed": nn.Embedding(3, 2), "lm_head": nn.Linear(2, 3, bias=False)})
    module["lm_head"].weight = module["embed"].weight
    module.requires_grad_(False)

    assert changing_state(module) == {}


def test_state_of_another_model_names_the_tensor() -> None:
    with pytest.raises(
        BrokenCheckpoint, match=r"step-2 .*weight has shape \(3, 2\), the model wants \(4, 2\)"
    ):
        load_changing_state(nn.Linear(2, 4), nn.Linear(2, 3).state_dict(), Path("step-2"))
    with pytest.raises(BrokenCheckpoint, match="bias is in only one of them"):
        load_changing_state(nn.Linear(2, 3), {"weight": torch.zeros(3, 2)}, Path("step-2"))


def test_processes_fail_together() -> None:
    peers = Peers(SimpleNamespace(global_rank=0, world_size=1))  # type: ignore[arg-type]
    peers.gather = lambda value: [value, (errno.ENOSPC, "full")]  # type: ignore[method-assign]
    with pytest.raises(OSError, match="full") as stopped:
        peers.raise_together(None)
    assert stopped.value.errno == errno.ENOSPC
