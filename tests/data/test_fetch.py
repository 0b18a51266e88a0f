import io
import shutil

import numpy as np
import pytest
import soundfile

from maya_data.fetch import CorruptAudio, decode, read_audio, read_bytes
from maya_data.index import SegmentIndex, build_index
from maya_data.readers.final_export import FinalExport


def _encode(samples, rate=16000, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **options)
    return buffer.getvalue()


def test_flac_comes_back_bit_for_bit():
    samples = np.random.default_rng(0).integers(-32768, 32767, 4000, np.int16)
    decoded, rate = decode(_encode(samples, format="FLAC"))
    assert rate == 16000
    assert decoded.dtype == np.int16
    assert (decoded == samples).all()


def test_channels_are_averaged():
    stereo = np.stack([np.full(100, 1000), np.full(100, 3000)], 1).astype(np.int16)
    assert decode(_encode(stereo, format="WAV"))[0].tolist() == [2000] * 100


def test_float_files_are_scaled_and_clipped():
    samples = np.array([0.5, -0.5, 2.0], np.float32)
    assert decode(_encode(samples, format="WAV", subtype="FLOAT"))[0].tolist() == [16384, -16384, 32767]


def test_other_rates_are_resampled(index):
    assert len(read_audio(index, 0, 8000)) == pytest.approx(index.durations[0] * 8000, abs=1)
    assert len(read_audio(index, 0)) == index.row(0).num_samples


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


def test_another_length_than_declared_is_corrupt(index, monkeypatch):
    monkeypatch.setitem(index.columns, "duration", np.asarray(index.durations) + 0.2)
    with pytest.raises(CorruptAudio, match=r"lasts .* s, the index says"):
        read_audio(index, 0)


def test_shards_that_moved_are_named(index, tmp_path):
    with pytest.raises(FileNotFoundError, match="open the index with the root"):
        read_bytes(SegmentIndex.open(index.path, root=tmp_path), 0)
