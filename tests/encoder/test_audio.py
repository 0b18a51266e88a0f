import numpy as np
import pytest
import soundfile

from maya_encoder.audio import BadAudio, load_audio, pad_waveforms


def test_file_is_mixed_to_mono_and_resampled(tmp_path):
    tone = np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.zeros(8000)], axis=1), 8000)
    waveform = load_audio(tmp_path / "a.wav", 16000)
    assert waveform.shape == (16000,)
    assert waveform.dtype == np.float32
    assert np.abs(waveform[4000:12000]).max() == pytest.approx(0.5, abs=0.02)


def test_int16_array_is_scaled():
    assert load_audio(np.array([-32768, 16384], dtype=np.int16)).tolist() == [-1.0, 0.5]


def test_missing_file_is_named():
    with pytest.raises(BadAudio, match=r"no such audio file: nowhere/a\.wav"):
        load_audio("nowhere/a.wav")


def test_file_that_is_no_sound_is_named(tmp_path):
    (tmp_path / "b.wav").write_text("hello")
    with pytest.raises(BadAudio, match=r"b\.wav is not a sound file"):
        load_audio(tmp_path / "b.wav")


def test_empty_audio_is_refused():
    with pytest.raises(BadAudio, match="holds no samples"):
        load_audio(np.zeros(0, dtype=np.float32))


def test_padding_keeps_lengths():
    batch, lens = pad_waveforms([np.ones(3, dtype=np.float32), np.ones(1, dtype=np.float32)])
    assert batch.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert lens.tolist() == [3, 1]
