"""Saving: every process writes its files, all agree that they are whole, the first one seals the folder."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from maya_train.checkpoints import files, folders, shards
from maya_train.checkpoints.files import Stamp
from maya_train.checkpoints.folders import Kept, Mark
from maya_train.checkpoints.peers import Peers
from maya_train.checkpoints.staging import Staging


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What one process contributes."""

    files: Mapping[str, Mapping[str, Any]]
    """Content by file name; no other process has files of these names."""
    shards: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors that all processes write together, the same names on each."""
    together: Callable[[Path], Path] | None = None
    """Writes below the folder that it is given, on all processes at once; returns where. Never in the
    background."""


class Saver:
    """Writes the training states of one stage.

    Args:
        root: folder of the folders `step-N`.
        peers: all processes; each has such a saver and calls it at the same steps.
        keep: how many states stay.
        in_background: copy the state and go on, while a thread writes.
    """

    def __init__(self, root: Path, peers: Peers, keep: Kept, *, in_background: bool = False) -> None:
        self._root, self._peers, self._keep = root, peers, keep
        self._staging = Staging() if in_background else None
        self._thread = ThreadPoolExecutor(1, "saver") if in_background else None
        self._pending: Future[None] | None = None
        if peers.is_first:
            folders.remove_parts(root)

    @property
    def has_failed(self) -> bool:
        """Whether a save in the background ended with an error, which `wait` will raise."""
        pending = self._pending
        return pending is not None and pending.done() and pending.exception() is not None

    def save(self, step: int, parts: Parts, score: float | None = None) -> None:
        """Save, or begin to where it is done in the background.

        Raises:
            OSError: this save, or the one before in the background, could not be written; on all processes.
        """
        self.wait()
        folder = self._root / f"step-{step}"
        if self._thread is None or self._staging is None or parts.together is not None:
            self._save(folder, parts, score)
            return
        staged = Parts(files=self._staging.copy(dict(parts.files)))
        upload = (
            shards.write_later(self._part(folder), parts.shards, self._peers.group) if parts.shards else None
        )
        self._pending = self._thread.submit(self._save, folder, staged, score, upload)

    def wait(self) -> None:
        """Return when nothing is being written any more; raise what went wrong."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """End the thread; what it still writes is finished."""
        if self._thread is not None:
            self._thread.shutdown()

    def _save(
        self, folder: Path, parts: Parts, score: float | None, upload: "Future[Any] | None" = None
    ) -> None:
        part, stamps, error = folders.part_of(folder), {}, None
        try:
            stamps = self._write(self._part(folder), parts, upload)
        except Exception as caught:
            error = files.no_room(part, caught) or caught
        try:
            self._peers.raise_together(error)
            written = {name: stamp for own in self._peers.gather(stamps) for name, stamp in own.items()}
            self._peers.raise_together(self._seal(folder, score, written))
        except Exception:
            if self._peers.is_first:
                folders.remove_parts(self._root)
            raise

    def _part(self, folder: Path) -> Path:
        part = folders.part_of(folder)
        part.mkdir(parents=True, exist_ok=True)
        return part

    def _write(self, part: Path, parts: Parts, upload: "Future[Any] | None") -> dict[str, Stamp]:
        """First what all processes write together, so that none may have failed before they meet there."""
        if upload is not None:
            upload.result()
        elif parts.shards:
            shards.write(part, parts.shards, self._peers.group)
        written = shards.own_files(part, self._peers.rank) if upload or parts.shards else []
        if parts.together is not None:
            place = parts.together(part)
            self._peers.gather(None)
            written = sorted(place.rglob("*")) if self._peers.is_first else []
        stamps = {str(path.relative_to(part)): files.stamp_of(path) for path in written if path.is_file()}
        return stamps | {name: files.write(part / name, state) for name, state in parts.files.items()}

    def _seal(self, folder: Path, score: float | None, written: dict[str, Stamp]) -> Exception | None:
        if not self._peers.is_first:
            return None
        mark = Mark(
            step=folders.step_of(folder), world_size=self._peers.world_size, score=score, files=written
        )
        try:
            folders.seal(folders.part_of(folder), folder, mark)
            folders.prune(self._root, self._keep)
        except Exception as error:
            return files.no_room(self._root, error) or error
        return None
