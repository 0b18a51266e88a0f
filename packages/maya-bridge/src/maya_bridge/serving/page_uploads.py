"""What Gradio's page uploaded: read once, deleted, and kept in memory for another try."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from maya_bridge.serving.errors import ApiError

LIFETIME = 600.0
"""Seconds for which an upload can be transcribed again."""


class PageUploads:
    """Uploads of the page's users by the path that Gradio gave them.

    Args:
        folder: Gradio's own; nothing outside of it is read.
        most_bytes: of all that is kept; the oldest give way.
        clock: seconds.
    """

    def __init__(self, folder: Path, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder.resolve()
        self._most_bytes = most_bytes
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, path: str) -> bytes:
        """Return an upload's bytes; its file is gone afterwards.

        Raises:
            ApiError: 400 where there is no such upload.
        """
        if not path:
            raise ApiError(400, "record or upload something first", code="missing_field", param="file")
        place = Path(path).resolve()
        if not place.is_relative_to(self._folder):
            raise ApiError(400, "this is no upload of the page", code="invalid_value", param="file")
        with self._lock:
            self._forget()
            if place.is_file():
                self._kept[str(place)] = (self._clock(), place.read_bytes())
                place.unlink()
                if place.parent != self._folder and not any(place.parent.iterdir()):
                    place.parent.rmdir()
                self._forget()
            if str(place) not in self._kept:
                raise ApiError(
                    400, "the upload is no longer here; upload it again", code="gone", param="file"
                )
            return self._kept[str(place)][1]

    def _forget(self) -> None:
        """Drop what is old, and the oldest of what is too much."""
        while self._kept:
            since, _ = next(iter(self._kept.values()))
            size = sum(len(data) for _, data in self._kept.values())
            if self._clock() - since < LIFETIME and size <= self._most_bytes:
                return
            self._kept.popitem(last=False)
