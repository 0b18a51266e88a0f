import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_data.indexing.build import build_index
from maya_data.readers.folder import Folder
from maya_data.readers.hf_parquet import HFParquet
from maya_data.readers.nemo import Nemo
from maya_data.verify import verify_index


def _verify(index, level):
    return verify_index(index, level=level, processes=1).bad


def _said(bad):
    return [finding.error for finding in bad]


@pytest.fixture
def sound():
    return np.random.default_rng(0).normal(0, 0.1, 16000)


def test_whole_files_of_any_depth_are_verified(tmp_path, sound):
    kinds = {"a.flac": "PCM_24", "b.flac": "PCM_16", "c.wav": "PCM_16", "d.flac": "PCM_S8"}
    for name, subtype in kinds.items():
        soundfile.write(tmp_path / name, np.stack([sound, -sound], 1), 16000, subtype=subtype)
    (tmp_path / "t.tsv").write_text("".join(f"{name}\thello there\n" for name in kinds))
    reader = Folder(root=str(tmp_path), transcripts="t.tsv", lang="en")
    index = build_index(reader, tmp_path / "index")
    assert (len(index), _verify(index, 3)) == (4, [])
    (tmp_path / "b.flac").write_bytes((tmp_path / "b.flac").read_bytes()[:-900])
    (tmp_path / "c.wav").unlink()
    bad = _verify(index, 0)
    assert [finding.id for finding in bad] == ["b", "c"]
    assert "beyond the file's end" in bad[0].error


@pytest.mark.parametrize("depth", ["PCM_24", "PCM_16", "PCM_S8"])
def test_the_md5_of_any_depth_is_that_of_the_samples(tmp_path, sound, depth):
    soundfile.write(tmp_path / "a.flac", np.stack([sound, -sound], 1), 16000, subtype=depth)
    (tmp_path / "t.tsv").write_text("a.flac\thello there\n")
    index = build_index(Folder(root=str(tmp_path), transcripts="t.tsv", lang="en"), tmp_path / "index")
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[30] ^= 1
    (tmp_path / "a.flac").write_bytes(data)
    (bad,) = _verify(index, 3)
    assert "differ from the MD5" in bad.error


def test_parts_of_a_long_recording_and_what_a_reader_left_out(tmp_path, sound):
    soundfile.write(tmp_path / "long.wav", sound, 16000)
    times = [(0.0, 0.4, "long.wav"), (0.4, 0.4, "long.wav"), (0.8, 0.4, "long.wav"), (0.0, 1.0, "gone.wav")]
    lines = [
        {"audio_filepath": name, "offset": start, "duration": length, "text": "a text", "lang": "en"}
        for start, length, name in times
    ]
    (tmp_path / "m.json").write_text("\n".join(map(json.dumps, lines)))
    index = build_index(Nemo(root=str(tmp_path), manifests="m.json"), tmp_path / "index")
    late, gone = _verify(index, 1)
    assert late.row == 2
    assert "should last from 0.800 to 1.200 s of a file of 1.000 s" in late.error
    assert (gone.id, gone.shard) == ("gone.wav", "m.json")
    assert "m.json line 4: gone.wav was left out when indexing: no audio for the line" in gone.error
    assert [finding.row for finding in _verify(index, 3)] == [2, None]


def test_embedded_recordings_are_verified(tmp_path, sound):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, 16000, format="FLAC")
    good = buffer.getvalue()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 4
    audio = [{"bytes": data, "path": "x"} for data in (good, bytes(bad), b"<html>")]
    rows = {"id": ["a", "b", "c"], "audio": audio, "text": ["one", "two", "three"], "lang": ["en"] * 3}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    index = build_index(HFParquet(root=str(tmp_path)), tmp_path / "index")
    assert [finding.id for finding in _verify(index, 3)] == ["b", "c"]
    assert "x.parquet#audio: segment b (row 1) cannot be decoded" in _verify(index, 3)[0].error
    pq.write_table(pa.table(rows).slice(0, 1), tmp_path / "x.parquet")
    assert [finding.id for finding in _verify(index, 0)] == ["b", "c"]
    (tmp_path / "x.parquet").write_bytes(b"no parquet at all")
    said = _said(_verify(index, 0))
    assert len(said) == 3
    assert all("is in a file that cannot be read" in error for error in said)
