"""Lhotse Shar: cuts and audio side by side, for sequential reading; encoded audio is copied as it is."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import soundfile

from maya_data.audio.fetch import LENGTH_TOLERANCE, CorruptAudio, read_audio, read_bytes
from maya_data.export.folder import Exported, Progress, new_folder, run
from maya_data.export.spelling import Texts, check_texts, spelled
from maya_data.indexing.flags import UNTRAINABLE
from maya_data.indexing.segments import Segment, SegmentIndex

SHARD_SIZE = 1000
"""Segments of the index that make one shard."""


class Audio(NamedTuple):
    """A mono recording as it goes into a shard."""

    data: bytes
    extension: str
    sampling_rate: int
    num_samples: int


def export_shar(
    index: SegmentIndex,
    out_dir: str | Path,
    *,
    shard_size: int = SHARD_SIZE,
    texts: Texts = "raw",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write `cuts.<n>.jsonl.gz` and `recording.<n>.tar`, and return what they hold.

    `CutSet.from_shar(in_dir=out_dir)` reads them. Every recording is decoded once: damaged ones, those of
    another length and rows that may not be trained on are left out. Mono files are copied byte for byte; the
    rest (several channels, parts of files) becomes 16-bit FLAC.

    Args:
        index: Segments.
        out_dir: A folder that is empty or not there.
        shard_size: Segments of the index a shard, 1 or more.
        texts: `raw` as in the source, `profile` as the index's text profile spells them.
        executor: Works on several shards at a time; None works here.
        progress: Called with shards done, shards in all and the shard just done.

    Raises:
        ValueError: `out_dir` is not empty, a setting is wrong, or no segment can be exported.
    """
    if shard_size < 1:
        raise ValueError(f"`shard_size` must be 1 or more, got {shard_size}")
    check_texts(texts)
    jobs = [range(first, min(first + shard_size, len(index))) for first in range(0, len(index), shard_size)]
    with new_folder(out_dir) as folder:
        exported = Exported(Path(out_dir))
        write = partial(_write_shard, index, folder, texts)
        for number, part in enumerate(run(write, enumerate(jobs), executor)):
            exported.add(part)
            if progress:
                progress(number + 1, len(jobs), f"shard {number:06d}")
        exported.check("no segment is usable")
    return exported


def _write_shard(index: SegmentIndex, folder: Path, texts: Texts, job: tuple[int, range]) -> Exported:
    """Write one shard; one without a usable segment has no files."""
    from lhotse.shar.writers.cut import JsonlShardWriter
    from lhotse.shar.writers.tar import TarWriter

    number, rows = job
    exported, names = Exported(folder), str(folder).replace("%", "%%")
    cuts = JsonlShardWriter(f"{names}/cuts.%06d.jsonl.gz", len(rows), shard_offset=number)
    recordings = TarWriter(f"{names}/recording.%06d.tar", len(rows), shard_offset=number)
    with cuts, recordings:
        for segment, audio in _usable(index, rows, exported):
            cut = _cut(segment, audio, spelled(segment, index.text_profile, texts))
            recording = json.dumps(cut.recording.to_dict()).encode()
            recordings.write(f"{cut.id}.{audio.extension}", io.BytesIO(audio.data))
            recordings.write(f"{cut.id}.json", io.BytesIO(recording), count=False)
            cuts.write(cut)
            exported.segments += 1
    exported.shards = int(exported.segments > 0)
    return exported


def _usable(index: SegmentIndex, rows: range, exported: Exported) -> Iterator[tuple[Segment, Audio]]:
    for row in rows:
        segment = index.row(row)
        if segment.flags & UNTRAINABLE:
            exported.leave_out("empty transcript, impossible duration or unknown language")
        elif not _is_name(segment.id):
            problem = f"{segment.shard}: the id {segment.id!r} cannot be the name of a file"
            exported.leave_out("an id that cannot be the name of a file", 1, problem)
        else:
            try:
                yield segment, _audio(index, row, segment)
            except (CorruptAudio, OSError) as error:
                exported.leave_out("audio that cannot be used", 1, str(error))


def _is_name(name: str) -> bool:
    """Return whether lhotse finds the id again in the name of a tar's member."""
    path = Path(f"{name}.x")
    return bool(name) and str(path.parent / path.stem) == name and "\0" not in name


def _audio(index: SegmentIndex, row: int, segment: Segment) -> Audio:
    """Return the recording, as it is where that is possible.

    Raises:
        CorruptAudio: It cannot be decoded or is not as long as declared.
        OSError: It cannot be read.
    """
    samples = read_audio(index, row, segment.sampling_rate)
    if "start" not in index.columns:
        data = read_bytes(index, row)
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            seconds = file.frames / file.samplerate
            if file.channels == 1 and abs(seconds - segment.duration) <= LENGTH_TOLERANCE:
                return Audio(data, file.format.lower(), file.samplerate, file.frames)
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, segment.sampling_rate, format="FLAC", subtype="PCM_16")
    return Audio(encoded.getvalue(), "flac", segment.sampling_rate, len(samples))


def _cut(segment: Segment, audio: Audio, text: str) -> Any:
    from lhotse import AudioSource, Recording, SupervisionSegment

    recording = Recording(
        id=segment.id,
        sources=[AudioSource(type="shar", channels=[0], source="")],
        sampling_rate=audio.sampling_rate,
        num_samples=audio.num_samples,
        duration=audio.num_samples / audio.sampling_rate,
        channel_ids=[0],
    )
    cut = recording.to_cut()
    supervision = SupervisionSegment(
        id=segment.id,
        recording_id=segment.id,
        start=0.0,
        duration=cut.duration,
        text=text,
        language=segment.lang,
        speaker=segment.speaker or None,
    )
    cut.supervisions = [supervision]
    cut.custom = {key: value for key in ("corpus", "domain") if (value := getattr(segment, key))}
    return cut
