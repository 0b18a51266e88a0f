import numpy as np
import pytest
import soundfile
import torch

from maya_encoder.audio import BadAudio, audio_duration, load_audio, pad_waveforms


def tone(samples, rate):
    return np.sin(np.arange(samples) * 2 * np.pi * 440 / rate).astype(np.float32)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_file_is_mixed_to_mono_and_resampled(tmp_path, kind):
    sound = tone(8000, 8000)
    soundfile.write(tmp_path / f"a.{kind}", np.stack([sound, np.zeros(8000)], axis=1), 8000)
    waveform = load_audio(tmp_path / f"a.{kind}", 16000)
    assert len(waveform) == pytest.approx(16000, abs=4000)  # mp3 pads
    assert waveform.dtype == np.float32
    assert np.abs(waveform[4000:12000]).max() == pytest.approx(0.5, abs=0.05)


def test_array_of_another_rate_is_resampled_as_a_file_is(tmp_path):
    sound = tone(11025, 11025)
    soundfile.write(tmp_path / "a.wav", sound, 11025, subtype="FLOAT")
    assert np.array_equal(load_audio(sound, 16000, 11025), load_audio(tmp_path / "a.wav", 16000))
    assert np.array_equal(load_audio(sound, 11025), sound)


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_whole_numbers_are_scaled(kind):
    lowest = np.iinfo(kind).min
    assert load_audio(np.array([lowest, -(lowest // 2)], dtype=kind)).tolist() == [-1.0, 0.5]


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_floats_are_taken(kind):
    assert load_audio(np.array([0.5, -0.25], dtype=kind)).tolist() == [0.5, -0.25]


def test_tensor_is_an_array():
    assert load_audio(torch.tensor([0.5, -0.5], requires_grad=True)).tolist() == [0.5, -0.5]
    assert load_audio(torch.tensor([0.5], dtype=torch.bfloat16)).tolist() == [0.5]
    assert load_audio(torch.tensor([-32768], dtype=torch.int16)).tolist() == [-1.0]


def test_channels_are_the_shorter_dimension():
    left, right = np.ones(6, np.float32), np.zeros(6, np.float32)
    assert load_audio(np.stack([left, right])).tolist() == [0.5] * 6
    assert load_audio(np.stack([left, right], axis=1)).tolist() == [0.5] * 6


def test_duration_comes_from_the_header_or_the_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((4000, 2)), 8000)
    assert audio_duration(tmp_path / "a.wav", 16000) == 0.5
    assert audio_duration(np.zeros((2, 4000)), 16000) == 0.25


@pytest.mark.parametrize("call", [load_audio, lambda path: audio_duration(path, 16000)])
def test_what_is_no_sound_file_is_named(tmp_path, call):
    (tmp_path / "b.wav").write_text("hello")
    (tmp_path / "c.raw").write_bytes(bytes(64))
    with pytest.raises(BadAudio, match=r"b\.wav is not a sound file that libsndfile can read: \S+"):
        call(tmp_path / "b.wav")
    with pytest.raises(BadAudio, match=r"c\.raw is not a sound file .*: it has no header"):
        call(tmp_path / "c.raw")
    with pytest.raises(BadAudio, match="is a folder, not a sound file"):
        call(tmp_path)
    with pytest.raises(BadAudio, match=r"no such audio file: nowhere/a\.wav"):
        call("nowhere/a.wav")


def test_damaged_file_is_named(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(48000, 16000), 16000)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[:9000] + bytes(len(whole) - 9000))
    with pytest.raises(BadAudio, match=r"a\.flac is damaged: \S+"):
        load_audio(tmp_path / "a.flac")


def test_empty_audio_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(BadAudio, match="the audio array holds no samples"):
        load_audio(np.zeros(0, dtype=np.float32))
    with pytest.raises(BadAudio, match=r"a\.wav holds no samples"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_counted(tmp_path, odd):
    sound = np.array([0, odd, odd, 0], dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype="FLOAT")
    with pytest.raises(BadAudio, match="the audio array holds 2 samples of 4 that are NaN or infinite"):
        load_audio(sound)
    with pytest.raises(BadAudio, match=r"a\.wav holds 2 samples of 4"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 3, 4)), r"must be \(S,\) or \(S, channels\), got shape \(2, 3, 4\)"),
        (np.zeros(4, dtype=bool), "must be floating, int16 or int32, got bool"),
        (0.5, "must be a file name or an array of samples, got float"),
    ],
)
def test_array_that_is_no_audio_is_described(audio, message):
    with pytest.raises(BadAudio, match=message):
        load_audio(audio)


@pytest.mark.parametrize("rate", [0, -16000, 0.5, "hi", True])
def test_sampling_rate_must_be_one(rate):
    with pytest.raises(ValueError, match=rf"`sampling_rate` must be a whole number .*, got {rate!r}"):
        load_audio(np.zeros(4), 16000, rate)


def test_padding_keeps_lengths():
    batch, lens = pad_waveforms([np.ones(3, dtype=np.float32), np.ones(1, dtype=np.float32)])
    assert batch.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert lens.tolist() == [3, 1]
