"""The segment index as lhotse cuts, for lhotse's transforms and exports; nothing else here needs lhotse."""

import os
from collections.abc import Iterator
from typing import Any

from maya_data.fetch import read_bytes
from maya_data.segments import SegmentIndex


class SegmentCuts:
    """Iterable of one `MonoCut` a segment, made when it is reached."""

    def __init__(self, index: SegmentIndex):
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Any]:
        return (self._cut(i) for i in range(len(self.index)))

    def _cut(self, i: int) -> Any:
        from lhotse import Recording, SupervisionSegment

        segment = self.index.row(i)
        cut = Recording.from_bytes(read_bytes(self.index, i), recording_id=segment.id).to_cut()
        cut.supervisions = [
            SupervisionSegment(
                id=segment.id,
                recording_id=segment.id,
                start=0.0,
                duration=cut.duration,
                text=segment.text,
                language=segment.lang,
                speaker=segment.speaker,
            )
        ]
        return cut


def lazy_cuts(index: SegmentIndex) -> Any:
    """Return a lazy CutSet, read by libsndfile: a broken torchaudio makes lhotse's own choice fail."""
    os.environ.setdefault("LHOTSE_AUDIO_BACKEND", "LibsndfileBackend")
    from lhotse import CutSet

    return CutSet(cuts=SegmentCuts(index))
