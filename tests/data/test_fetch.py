import io
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_data.audio import embedded, files
from maya_data.audio.fetch import CorruptAudio, read_audio, read_bytes, read_many, read_row
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import SegmentIndex
from maya_data.readers.final_export import FinalExport


@dataclass
class GivenRows:
    """A reader of the rows it is given."""

    root: str
    rows: list

    def build(self):
        rest = {"text": "a", "lang": "en", "corpus": "c", "speaker": "s", "domain": "d", "start": 0}
        for number, row in enumerate(self.rows):
            length = {"num_samples": round(row["duration"] * 16000), "sampling_rate": 16000}
            yield {"id": f"r{number}"} | rest | length | row


def _noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 2000, samples).astype(np.int16)


def _encode(samples, rate=16000, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **{"format": "FLAC"} | options)
    return buffer.getvalue()


def test_other_rates_are_resampled(index):
    assert len(read_audio(index, 0, 8000)) == pytest.approx(index.durations[0] * 8000, abs=1)
    assert len(read_audio(index, 0)) == index.row(0).num_samples


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_and_pitch(tmp_path, speed):
    tone = (8000 * np.sin(np.arange(16000) * 2 * np.pi * 500 / 16000)).astype(np.int16)
    (tmp_path / "tone.flac").write_bytes(_encode(tone))
    row = {
        "shard": "tone.flac",
        "offset": 0,
        "size": (tmp_path / "tone.flac").stat().st_size,
        "duration": 1.0,
    }
    made = build_index(GivenRows(str(tmp_path), [row]), tmp_path / "index")
    fast = read_audio(made, 0, speed=speed)
    assert len(fast) == pytest.approx(16000 / speed, abs=1)
    assert np.abs(np.fft.rfft(fast, 16000)).argmax() == pytest.approx(500 * speed, abs=2)
    assert (fast == read_audio(made, 0, speed=speed)).all()
    with pytest.raises(ValueError, match="`speed` must be over 0, got 0"):
        read_audio(made, 0, speed=0)


@pytest.fixture
def damaged(corpus, tmp_path):
    """A copy of the corpus in which the Tamil tar has one flipped bit in its second segment."""
    shutil.copytree(corpus, tmp_path / "root")
    made = build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")
    victim = made.row(61)
    path = tmp_path / "root" / victim.shard
    content = bytearray(path.read_bytes())
    content[victim.offset + victim.size // 2] ^= 4
    path.write_bytes(content)
    return made


def test_one_flipped_bit_is_found_and_named(damaged):
    with pytest.raises(
        CorruptAudio, match=r"lang=ta/000/audio.tar: segment ta-000-001 at byte \d+ cannot be dec"
    ):
        read_audio(damaged, 61)
    read_audio(damaged, 60)


def test_a_truncated_tar_loses_only_what_is_cut_off(damaged):
    victim = damaged.row(65)
    os.truncate(damaged.location(65), victim.offset + 100)
    with pytest.raises(CorruptAudio, match=rf"ta-000-005 at byte {victim.offset} is cut off: 100 of its"):
        read_audio(damaged, 65)
    many = read_many(damaged, range(60, 70))
    wrong = [isinstance(found, CorruptAudio) for found in many]
    assert wrong == [number in (1, 5, 6, 7, 8, 9) for number in range(10)]
    assert "ta-000-009 at byte" in str(many[9])
    assert "is cut off: 0 of its" in str(many[9])


def test_another_length_than_declared_is_corrupt(index, monkeypatch):
    monkeypatch.setitem(index.columns, "duration", np.asarray(index.durations) + 0.2)
    with pytest.raises(CorruptAudio, match=r"lasts .* s, the index says"):
        read_audio(index, 0)
    monkeypatch.setitem(index.columns, "duration", np.full(len(index), np.nan, np.float32))
    with pytest.raises(CorruptAudio, match=r"the index says nan s"):
        read_audio(index, 0)


def test_shards_that_moved_are_named(index, tmp_path):
    moved = SegmentIndex.open(index.path, root=tmp_path)
    for read in (read_bytes, read_audio, lambda index, i: read_many(index, [i])):
        with pytest.raises(
            FileNotFoundError, match=r"audio\.tar is gone .*row 0.*open the index with the root"
        ):
            read(moved, 0)


def test_many_are_read_in_the_order_asked(index):
    ids = np.random.default_rng(0).permutation(len(index))[:30].tolist()
    ids += ids[:3]
    speeds = [1.1 if number % 3 else 1.0 for number in range(len(ids))]
    found = read_many(index, ids, 8000, speeds)
    for samples, i, speed in zip(found, ids, speeds, strict=True):
        assert (samples == read_audio(index, i, 8000, speed)).all()
    assert read_many(index, []) == []
    with pytest.raises(ValueError, match="one factor a segment, got 1 for 2"):
        read_many(index, [0, 1], speeds=[1.0])


def test_neighbours_are_read_at_once(index, monkeypatch):
    ranges = []

    def count(path, offset, size, **options):
        ranges.append(size)
        return files.os.pread(files._open(path).descriptor, size, offset)

    monkeypatch.setattr("maya_data.audio.fetch.files.read_range", count)
    read_many(index, [3, 0, 2, 1, 65, 64])
    assert len(ranges) == 2


@pytest.fixture
def remote_index(corpus, index):
    """The corpus in a store in memory."""
    root = f"memory://{uuid.uuid4().hex}"
    store = fsspec.filesystem("memory")
    for name in files.list_files(corpus, "**/audio.tar"):
        store.pipe(files.join(root, name), (corpus / name).read_bytes())
    return SegmentIndex.open(index.path, root=root)


def test_a_root_may_be_a_uri(index, remote_index):
    assert remote_index.location(0).startswith("memory://")
    assert (read_audio(remote_index, 0) == read_audio(index, 0)).all()
    ids = [*range(0, 70, 3)]
    for near, far in zip(read_many(index, ids), read_many(remote_index, ids), strict=True):
        assert (near == far).all()


def test_a_remote_shard_that_fails_is_named_with_the_segment(index, monkeypatch):
    moved = SegmentIndex.open(index.path, root="nonsense://bucket")
    with pytest.raises(
        files.UnreadableFile,
        match=r"nonsense://bucket/.*audio\.tar cannot be opened.*segment en-000-000, row 0",
    ):
        read_audio(moved, 0)


@pytest.fixture
def parquet(tmp_path):
    """Twelve recordings in row groups of five, and what they hold."""
    audio = [_noise(1600 + 160 * number, number) for number in range(12)]
    table = pa.table(
        {
            "audio": [{"bytes": _encode(samples), "path": f"{n}.flac"} for n, samples in enumerate(audio)],
            "flat": [_encode(samples) for samples in audio],
            "text": ["a" * 1000] * 12,
        }
    )
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=5)
    return tmp_path, audio


def _rows_of(audio, column):
    return [
        {"shard": f"part.parquet#{column}", "offset": row, "size": 0, "duration": len(samples) / 16000}
        for row, samples in enumerate(audio)
    ]


@pytest.mark.parametrize("column", ["audio", "audio.bytes", "flat"])
def test_recordings_in_a_parquet_column_are_read(parquet, column):
    root, audio = parquet
    made = build_index(GivenRows(str(root), _rows_of(audio, column)), root / "index")
    order = np.random.default_rng(0).permutation(12)
    for i, samples in zip(order, read_many(made, order), strict=True):
        assert (samples == audio[i]).all()
        assert (read_audio(made, i) == audio[i]).all()
        assert read_bytes(made, i) == _encode(audio[i])


def test_only_the_audio_column_of_a_row_group_is_read(parquet, monkeypatch):
    root, _ = parquet
    asked = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda self, group, **options: (
            asked.append((group, options["columns"])) or read(self, group, **options)
        ),
    )
    for row in (0, 1, 4, 5, 11, 0):
        embedded.read(f"{root}/part.parquet#audio", row)
    assert asked == [(0, ["audio.bytes"]), (1, ["audio.bytes"]), (2, ["audio.bytes"])]


def test_row_groups_kept_are_bounded(parquet, monkeypatch):
    root, _ = parquet
    groups = embedded._Groups()
    monkeypatch.setattr(embedded, "_groups", groups)
    monkeypatch.setattr(embedded, "CACHED_BYTES", 1)
    for row in (0, 5, 11, 0):
        embedded.read(f"{root}/part.parquet#audio", row)
        assert len(groups.kept) == 1
        assert groups.bytes == next(iter(groups.kept.values())).nbytes


@pytest.mark.parametrize(
    ("column", "row", "said"),
    [
        ("audio", 12, "is not there: the file has 12 rows"),
        ("sound", 0, "needs column sound; the file has audio.bytes, audio.path, flat, text"),
        ("text", 0, "has no audio in column text"),
    ],
)
def test_a_parquet_file_that_does_not_hold_the_row_is_named(parquet, column, row, said):
    root, _ = parquet
    place = {"shard": f"part.parquet#{column}", "offset": row, "size": 0, "duration": 1.0}
    made = build_index(GivenRows(str(root), [place]), root / "index")
    with pytest.raises(CorruptAudio, match=rf"part\.parquet#{column}: segment r0 at row {row} {said}"):
        read_audio(made, 0)


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "part.parquet").write_bytes(b"PAR1 nothing PAR1")
    row = {"id": "x", "shard": "part.parquet#audio", "offset": 0, "size": 0}
    with pytest.raises(CorruptAudio, match=r"part\.parquet#audio: segment x is in a damaged file"):
        read_row(str(tmp_path), row)


@pytest.fixture
def long_file(tmp_path):
    """Three segments of one recording of 3 s, and a recording of its own."""
    audio = _noise(48000)
    (tmp_path / "long.flac").write_bytes(_encode(audio))
    (tmp_path / "short.flac").write_bytes(_encode(audio[:16000]))
    size = (tmp_path / "long.flac").stat().st_size
    rows = [
        {"shard": "long.flac", "offset": 0, "size": size, "start": start, "duration": 0.5}
        for start in (0, 8000, 40000)
    ]
    return tmp_path, audio, [*rows, {"shard": "short.flac", "offset": 0, "size": 0, "duration": 1.0}]


def test_segments_inside_a_long_file_are_cut_out(long_file):
    root, audio, rows = long_file
    made = build_index(GivenRows(str(root), rows), root / "index")
    expected = [audio[:8000], audio[8000:16000], audio[40000:], audio[:16000]]
    for i, samples in enumerate(expected):
        assert (read_audio(made, i) == samples).all()
    for samples, found in zip(expected, read_many(made, range(4)), strict=True):
        assert (samples == found).all()


def test_a_segment_behind_the_end_of_its_file_is_corrupt(long_file):
    root, _, rows = long_file
    made = build_index(
        GivenRows(str(root), [{**rows[1], "start": 50000}, {**rows[1], "start": 45000}]), root / "i"
    )
    with pytest.raises(CorruptAudio, match="has 48000 samples, so none at sample 50000"):
        read_audio(made, 0)
    with pytest.raises(CorruptAudio, match=r"lasts 0\.188 s, the index says 0\.500 s"):
        read_audio(made, 1)


def test_rows_of_a_reader_are_read_without_an_index(long_file, parquet):
    root, audio, rows = long_file
    whole = [{"id": "x", "sampling_rate": 16000} | row for row in rows]
    assert (read_row(str(root), whole[1])[0] == audio[8000:16000]).all()
    assert (read_row(str(root), whole[0])[0] == audio[:8000]).all()
    samples, rate = read_row(str(root), {**whole[3], "duration": 0.999})
    assert rate == 16000
    assert len(samples) == 16000
    embedded_row = {"id": "x", "shard": "part.parquet#audio", "offset": 7, "size": 0}
    assert (read_row(str(root), embedded_row)[0] == parquet[1][7]).all()
    with pytest.raises(CorruptAudio, match=r"short.flac: segment x lasts 1\.000 s, its row says 1\.500 s"):
        read_row(str(root), {**whole[3], "duration": 1.5})


def test_a_broken_torchaudio_does_not_break_reading(index, tmp_path):
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(
        "raise OSError('libtorchaudio.so: undefined symbol')"
    )
    program = (
        "import sys, maya_data.indexing.build as made; from maya_data.audio.fetch import read_audio\n"
        f"index = made.SegmentIndex.open({str(index.path)!r})\n"
        "assert len(read_audio(index, 0, 8000)) > 1000\n"
        "assert 'torchaudio' not in sys.modules and 'lhotse' not in sys.modules\n"
        "cut = next(iter(index.to_cuts()))\n"
        "assert cut.load_audio().shape == (1, cut.num_samples)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_segment_without_bytes_is_one_sentence_and_its_neighbours_are_read(tmp_path, write_shard):
    write_shard(tmp_path / "root" / "lang=hi" / "s", [0.3, 0.3, 0.3])
    tar = tmp_path / "root" / "lang=hi" / "s" / "audio.tar"
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    index = build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")
    first, *_, last = read_many(index, range(len(index)))
    assert len(first) == 4800
    assert str(last).endswith("has no audio in its shard")
    with pytest.raises(CorruptAudio, match=r"segment hi-s-002 at byte .* has no audio in its shard"):
        read_audio(index, 2)
