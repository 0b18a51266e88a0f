"""The segment index as lhotse cuts, for lhotse's transforms and exports; nothing else here needs lhotse."""

import os
import warnings
from collections.abc import Iterator
from typing import Any

from maya_data.audio.fetch import CorruptAudio, read_bytes
from maya_data.indexing.segments import Segment, SegmentIndex


class SegmentCuts:
    """Iterable of one `MonoCut` a segment, made when it is reached."""

    def __init__(self, index: SegmentIndex):
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Any]:
        """Yield the cuts; a segment whose header cannot be read is left out with a warning."""
        for i in range(len(self.index)):
            try:
                yield self._cut(i)
            except CorruptAudio as error:
                warnings.warn(f"no cut is made of {error}", stacklevel=2)

    def _cut(self, i: int) -> Any:
        from lhotse import Recording

        segment, data = self.index.row(i), read_bytes(self.index, i)
        try:
            cut = Recording.from_bytes(data, recording_id=segment.id).to_cut()
        except Exception as error:  # lhotse tries several libraries, each with errors of its own
            raise CorruptAudio(
                f"{segment.shard}: segment {segment.id} at byte {segment.offset} has no readable header"
            ) from error
        if "start" in self.index.columns and cut.num_samples > segment.num_samples:
            offset = segment.start / cut.sampling_rate
            cut = cut.truncate(offset=offset, duration=min(segment.duration, cut.duration - offset))
        cut.id = segment.id
        cut.supervisions = [_supervision(segment, cut.duration)]
        return cut


def _supervision(segment: Segment, duration: float) -> Any:
    from lhotse import SupervisionSegment

    return SupervisionSegment(
        id=segment.id,
        recording_id=segment.id,
        start=0.0,
        duration=duration,
        text=segment.text,
        language=segment.lang,
        speaker=segment.speaker,
        custom={"corpus": segment.corpus, "domain": segment.domain},
    )


def lazy_cuts(index: SegmentIndex) -> Any:
    """Return a lazy CutSet, read by libsndfile: a broken torchaudio makes lhotse's own choice fail."""
    os.environ.setdefault("LHOTSE_AUDIO_BACKEND", "LibsndfileBackend")
    from lhotse import CutSet

    return CutSet(cuts=SegmentCuts(index))
