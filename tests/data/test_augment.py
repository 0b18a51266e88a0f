import json
import multiprocessing
import os

import numpy as np
import pytest
import soundfile

from maya_data.audio import noise_files
from maya_data.audio.augment import AugmentConfig, NoiseConfig, NoisePool, speech_power
from maya_data.planning.permutation import key


@pytest.fixture
def musan(tmp_path):
    """Three recordings in the layout of MUSAN: one at another rate, one shorter than most speech."""
    random = np.random.default_rng(0)
    for name, seconds, rate, level in (
        ("noise/a", 2.0, 16000, 300),
        ("noise/b", 0.1, 16000, 900),
        ("music/c", 1, 48000, 90),
    ):
        path = tmp_path / "musan" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.normal(0, level, round(seconds * rate)).astype(np.int16), rate)
    (tmp_path / "musan" / "noise" / "ANNOTATIONS").write_text("a text file")
    return tmp_path / "musan"


@pytest.fixture
def speech():
    return np.random.default_rng(1).normal(0, 2000, 12345).astype(np.int16)


def _snr(speech, mixed):
    noise = mixed.astype(np.float64) - speech
    return 10 * np.log10(speech_power(speech.astype(np.float32)) / np.mean(noise**2))


def test_noise_is_as_loud_as_asked(musan, tmp_path, speech):
    pool = NoisePool.open(musan, tmp_path / "cache")
    ratios = [_snr(speech, pool.mix(speech, number)) for number in range(300)]
    assert 4.99 < min(ratios) < 5.5
    assert 19.5 < max(ratios) < 20.01
    assert np.mean(ratios) == pytest.approx(12.5, abs=1)


def test_the_key_alone_decides(musan, tmp_path, speech):
    pool = NoiseConfig(root=str(musan), cache=str(tmp_path / "cache")).open()
    first = {number: pool.mix(speech, number) for number in range(50)}
    np.random.default_rng(0).random(10)
    again = NoiseConfig(root=str(musan), cache=str(tmp_path / "other")).open()
    for number in reversed(range(50)):
        assert (again.mix(speech, np.uint64(number)) == first[number]).all()
    changed = sum((mixed != speech).any() for mixed in first.values())
    assert 15 < changed < 35
    assert len({mixed.tobytes() for mixed in first.values()}) == changed + 1
    assert pool.mix(speech, int(key(1, 2, 3, 4))).shape == speech.shape


def _mix_in_worker(folder, cache, numbers):
    speech = np.random.default_rng(1).normal(0, 2000, 4000).astype(np.int16)
    pool = NoisePool.open(folder, cache)
    return [pool.mix(speech, number).tobytes() for number in numbers]


def test_workers_mix_the_same(musan, tmp_path):
    whole = _mix_in_worker(musan, tmp_path / "cache", range(6))
    with multiprocessing.get_context("spawn").Pool(2) as workers:
        parts = workers.starmap(
            _mix_in_worker, [(musan, tmp_path / "new", range(3)), (musan, tmp_path / "new", range(3, 6))]
        )
    assert parts[0] + parts[1] == whole


def test_silence_around_speech_does_not_change_the_noise_level(speech):
    padded = np.concatenate([np.zeros(32000, np.int16), speech, np.zeros(32000, np.int16)])
    expected = float(np.mean(speech.astype(np.float64) ** 2))
    assert speech_power(speech.astype(np.float32)) == pytest.approx(expected, rel=0.01)
    assert speech_power(padded.astype(np.float32)) == pytest.approx(expected, rel=0.05)


def test_a_sum_that_is_too_loud_is_softened_not_cut(musan, tmp_path):
    pool = NoisePool.open(musan, tmp_path / "cache")
    loud = np.where(np.arange(8000) // 20 % 2, 32767, -32767).astype(np.int16)
    mixed = pool.mix(loud, 3)
    assert np.abs(mixed.astype(int)).max() == 32767
    assert (np.abs(mixed.astype(int)) == 32767).sum() < 5


@pytest.mark.parametrize("samples", [np.zeros(1000, np.int16), np.zeros(0, np.int16)])
def test_silence_and_nothing_stay_as_they_are(musan, tmp_path, samples):
    assert (NoisePool.open(musan, tmp_path / "cache").mix(samples, 1) == samples).all()


def test_speech_longer_than_any_noise_gets_noise_throughout(musan, tmp_path):
    pool = NoisePool.open(musan, tmp_path / "cache")
    speech = np.full(100_000, 1000, np.int16)
    for number in range(20):
        noise = pool.mix(speech, number).astype(int) - speech
        assert (np.abs(noise.reshape(100, 1000)).max(axis=1) > 0).all()


def test_every_recording_is_heard_for_its_length(musan, tmp_path):
    files = NoisePool.open(musan, tmp_path / "cache").files
    assert files.info["names"] == ["music/c.wav", "noise/a.wav", "noise/b.wav"]
    assert files.info["lengths"] == [16000, 32000, 1600]
    assert (files.cut(0.0, 10) == files.samples[:10]).all()
    assert (files.cut(0.999999, 1600)[1:] == files.samples[-1600:][:-1]).all()


def test_the_pool_is_decoded_once(musan, tmp_path, monkeypatch):
    first = NoisePool.open(musan, tmp_path / "cache")
    monkeypatch.setattr(noise_files, "decode", None)
    again = NoisePool.open(musan, tmp_path / "cache")
    assert again.fingerprint == first.fingerprint
    assert sorted(os.listdir(tmp_path / "cache")) == [
        first.files.folder.name,
        f"{first.files.folder.name}.lock",
    ]
    assert json.loads((first.files.folder / "noise.json").read_text())["sampling_rate"] == 16000


def test_another_noise_is_another_pool(musan, tmp_path):
    first = NoisePool.open(musan, tmp_path / "cache")
    soundfile.write(musan / "noise" / "d.wav", np.ones(100, np.int16), 16000)
    assert NoisePool.open(musan, tmp_path / "cache").fingerprint != first.fingerprint
    only = NoiseConfig(root=str(musan), pattern="music/*", cache=str(tmp_path / "cache")).open()
    assert only.files.info["names"] == ["music/c.wav"]


def test_a_noise_file_that_cannot_be_decoded_is_left_out(musan, tmp_path):
    (musan / "noise" / "bad.wav").write_bytes(b"no audio")
    with pytest.warns(UserWarning, match=r"bad\.wav is left out: it cannot be decoded"):
        pool = NoisePool.open(musan, tmp_path / "cache")
    assert len(pool.files.info["names"]) == 3


def test_a_failed_decoding_leaves_nothing_behind(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_bytes(b"no audio")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="none of the 1 audio files"),
    ):
        NoisePool.open(tmp_path / "bad", tmp_path / "cache")
    assert all(name.endswith(".lock") for name in os.listdir(tmp_path / "cache"))


def test_a_folder_without_audio_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        NoisePool.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no audio file that matches"):
        NoisePool.open(tmp_path)
    with pytest.raises(ValueError, match="set `root`"):
        NoiseConfig().open()


@pytest.mark.parametrize("setting", [{"snr": (20, 5)}, {"prob": 1.5}, {"snr": (float("nan"), 5)}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(ValueError, match="must be"):
        NoiseConfig(**setting)
    assert AugmentConfig().noise is None
