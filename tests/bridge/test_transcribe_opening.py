"""Sound files of all kinds, and what is none, to parts of 16 kHz."""

import itertools
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maya_bridge.transcribe_files import ffmpeg, opening
from maya_encoder.audio import BadAudio, load_audio


def noise(seconds, rate=16000, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)


def whole(path):
    found = list(opening.parts(path))
    assert [part.last for part in found] == [False] * (len(found) - 1) + [True]
    ends = [part.end for part in found]
    assert [part.start for part in found] == [0, *ends[:-1]]
    return np.concatenate([part.waveform for part in found])


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_any_rate_and_stereo_are_what_the_encoder_reads(rate, tmp_path):
    stereo = np.stack([noise(0.7, rate), noise(0.7, rate, seed=1)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, rate, subtype="FLOAT")

    assert whole(tmp_path / "a.wav") == pytest.approx(load_audio(tmp_path / "a.wav"), abs=1e-5)


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg", "opus"])
def test_compressed_files_are_read(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    codec = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    soundfile.write(path, noise(1.0), 16000, **codec)

    assert len(whole(path)) == pytest.approx(16000, abs=100)
    assert opening.claimed_seconds(path) == pytest.approx(1.0, abs=0.01)


def test_a_long_file_comes_in_parts_cut_where_it_is_quiet(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "PART", 4.0)
    monkeypatch.setattr(opening, "QUIET", 2.0)
    sound = noise(10)
    sound[int(2.9 * 16000) : int(3.3 * 16000)] = 0
    soundfile.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")

    found = list(opening.parts(tmp_path / "a.wav"))

    assert len(found) >= 3
    assert 2.9 < found[0].end / 16000 < 3.3
    assert (whole(tmp_path / "a.wav") == sound).all()
    later = list(opening.parts(tmp_path / "a.wav", start=found[1].start))
    assert [part.start for part in later] == [part.start for part in found[1:]]
    assert (later[0].waveform == found[1].waveform).all()


def test_of_a_ten_hour_file_only_a_part_is_held(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros(36_000_000, dtype=np.int16), 1000)

    found = list(itertools.islice(opening.parts(tmp_path / "a.flac"), 2))

    assert opening.claimed_seconds(tmp_path / "a.flac") == 36_000
    assert all(len(part.waveform) <= opening.PART * 16000 for part in found)


def hostile(folder):
    """Bad files by name, each with what is said of it."""
    sound = noise(1.0)
    soundfile.write(folder / "good.flac", sound, 16000)
    soundfile.write(folder / "good.wav", sound, 16000)
    flac, wav = (folder / "good.flac").read_bytes(), (folder / "good.wav").read_bytes()
    odd = sound.copy()
    odd[7] = np.nan
    soundfile.write(folder / "nan.wav", odd, 16000, subtype="FLOAT")
    soundfile.write(folder / "loud.wav", sound * 1e9, 16000, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", sound[:100], 1)
    (folder / "folder.wav").mkdir()
    for name, content in {
        "empty.wav": b"",
        "text.wav": b"nobody says anything here\n" * 50,
        "bare.raw": wav[44:],
        "header.wav": wav[:40] + bytes(4),
        "cut.flac": flac[: len(flac) // 2],
        "bomb.flac": flac[:21] + bytes([flac[21] | 15]) + b"\xff" * 4 + flac[26:],
    }.items():
        (folder / name).write_bytes(content)
    return {
        "nan.wav": "NaN",
        "loud.wav": "no sound",
        "slow.wav": "must have 1000 to 768000 samples a second, got 1",
        "folder.wav": "is a folder",
        "empty.wav": "is empty",
        "text.wav": "libsndfile can read; m4a, aac, wma, webm and video need ffmpeg",
        "bare.raw": "libsndfile can read",
        "header.wav": "holds no samples",
        "cut.flac": "is damaged",
        "bomb.flac": "is damaged",
        "none.wav": "no such audio file",
    }


def test_hostile_files_are_named_with_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "program", lambda: None)
    for name, message in hostile(tmp_path).items():
        with pytest.raises(BadAudio, match=message) as caught:
            list(opening.parts(tmp_path / name))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_before_anybody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        with pytest.raises(BadAudio, match=r"is a pipe or a device.*`-`"):
            opening.claimed_seconds(path)


def test_a_wav_that_claims_two_gigabytes_is_what_it_holds(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1.0), 16000)
    wav = (tmp_path / "a.wav").read_bytes()
    claim = struct.pack("<I", 2**31)
    (tmp_path / "a.wav").write_bytes(wav[:4] + claim + wav[8:40] + claim + wav[44:])

    assert len(whole(tmp_path / "a.wav")) == 16000


needs_ffmpeg = pytest.mark.skipif(ffmpeg.program() is None, reason="there is no ffmpeg")


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "webm"])
def test_what_libsndfile_lacks_goes_through_ffmpeg(suffix, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1.0), 48000)
    path = tmp_path / f"a.{suffix}"
    subprocess.run([ffmpeg.program(), "-v", "error", "-i", tmp_path / "a.wav", path], check=True)

    assert len(whole(path)) == pytest.approx(16000 / 3, abs=400)
    assert opening.claimed_seconds(path) == pytest.approx(1 / 3, abs=0.03)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadAudio, match=path.name):
        list(opening.parts(path))


@needs_ffmpeg
@pytest.mark.parametrize("playlist", ["#EXTM3U\n#EXTINF:1,\nfile://{}\n", "ffconcat version 1.0\nfile {}\n"])
def test_a_playlist_opens_no_other_file(playlist, tmp_path):
    soundfile.write(tmp_path / "secret.wav", noise(1.0), 16000)
    (tmp_path / "a.m4a").write_text(playlist.format(tmp_path / "secret.wav"))

    with pytest.raises(BadAudio, match=r"a\.m4a"):
        list(opening.parts(tmp_path / "a.m4a"))
