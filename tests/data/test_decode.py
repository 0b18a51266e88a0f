import io

import numpy as np
import pytest
import soundfile

from maya_data.audio.decode import CorruptAudio, decode, resample


def _encode(samples, rate=16000, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **options)
    return buffer.getvalue()


@pytest.fixture
def samples():
    return np.random.default_rng(0).integers(-32768, 32767, 40000, np.int16)


def _declare(flac, total):
    """Return the FLAC file with another number of samples in its header; 0 says that it is unknown."""
    changed = bytearray(flac)
    changed[21] = changed[21] & 0xF0 | total >> 32
    changed[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(changed)


def test_flac_comes_back_bit_for_bit(samples):
    decoded, rate = decode(_encode(samples, format="FLAC"))
    assert rate == 16000
    assert decoded.dtype == np.int16
    assert (decoded == samples).all()


@pytest.mark.parametrize(("start", "length"), [(0, 100), (12345, 100), (39999, 5), (100, None)])
@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_a_part_is_that_part_of_the_whole(samples, start, length, kind):
    data = _encode(samples, format=kind)
    part = samples[start : start + length if length else None]
    assert decode(data, start, length)[0].tolist() == part.tolist()
    assert decode(io.BytesIO(data), start, length)[0].tolist() == part.tolist()


def test_channels_are_averaged():
    stereo = np.stack([np.full(100, 1000), np.full(100, 3000)], 1).astype(np.int16)
    assert decode(_encode(stereo, format="WAV"))[0].tolist() == [2000] * 100
    assert decode(_encode(stereo, format="FLAC"))[0].tolist() == [2000] * 100


def test_float_files_are_scaled_and_clipped():
    samples = np.array([0.5, -0.5, 2.0], np.float32)
    assert decode(_encode(samples, format="WAV", subtype="FLOAT"))[0].tolist() == [16384, -16384, 32767]


@pytest.mark.parametrize("kind", [{"format": "OGG", "subtype": "VORBIS"}, {"format": "MP3"}])
def test_lossy_files_keep_length_and_loudness(kind):
    tone = (8000 * np.sin(np.arange(16000) / 10)).astype(np.int16)
    decoded, rate = decode(_encode(tone, **kind))
    assert rate == 16000
    assert abs(len(decoded) - 16000) < 1600
    assert np.abs(decoded).max() == pytest.approx(8000, rel=0.1)


@pytest.mark.parametrize("total", [0, 2**35])
def test_flac_with_no_honest_length_in_its_header_is_read_to_its_end(samples, total):
    data = _declare(_encode(samples, format="FLAC"), total)
    assert decode(data)[0].tolist() == samples.tolist()
    assert decode(data, 300, 500)[0].tolist() == samples[300:800].tolist()


@pytest.mark.parametrize("damage", ["empty", "page", "half", "bit", "zeros"])
def test_damaged_bytes_are_corrupt(samples, damage):
    flac = _encode(samples, format="FLAC")
    middle = len(flac) // 2
    data = {
        "empty": b"",
        "page": b"<html>no</html>" * 99,
        "half": flac[:middle],
        "bit": flac[:middle] + bytes([flac[middle] ^ 1]) + flac[middle + 1 :],
        "zeros": flac[:middle] + bytes(4096) + flac[middle + 4096 :],
    }[damage]
    with pytest.raises(CorruptAudio, match=r"^cannot be decoded \(.+\)$"):
        decode(data)


def test_resampling_repeats_exactly(samples):
    once = resample(samples, 16000, 16000, 0.9)
    assert len(once) == round(40000 / 0.9)
    assert (once == resample(samples, 16000, 16000, 0.9)).all()
    assert resample(samples, 16000, None) is samples
    assert len(resample(samples, 48000, 16000)) == pytest.approx(40000 / 3, abs=1)
