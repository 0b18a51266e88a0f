import numpy as np
import pytest
import torch

from maya_encoder.features import LogMel, mel_filters


def make_audio(*lens):
    generator = torch.Generator().manual_seed(0)
    waveforms = 0.1 * torch.randn(len(lens), max(lens), generator=generator)
    for row, length in zip(waveforms, lens, strict=True):
        row[length:] = 0
    return waveforms, torch.tensor(lens)


def log_mel_by_hand(samples, filters):
    """One utterance, modern front end, frame by frame in double precision."""
    audio = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    padded = np.pad(audio, 256)
    window = np.pad(np.hanning(400), 56)
    frames = [padded[160 * t : 160 * t + 512] * window for t in range(len(samples) // 160)]
    power = np.abs(np.fft.rfft(np.array(frames))) ** 2
    log_mel = np.log(power @ filters + 2.0**-24)
    return (log_mel - log_mel.mean(0)) / (log_mel.std(0, ddof=1) + 1e-5)


def test_features_equal_the_formula():
    waveforms, lens = make_audio(4000)
    features, feature_lens = LogMel(40).eval()(waveforms, lens)
    expected = log_mel_by_hand(waveforms[0].double().numpy(), mel_filters(40, 16000).double().numpy())
    assert feature_lens.tolist() == [25]
    np.testing.assert_allclose(features[0].numpy(), expected, atol=1e-4)


def test_filters_have_slaney_shape_and_area():
    filters = mel_filters(80, 16000)
    assert filters.shape == (257, 80)
    # Below 1000 Hz the centres are evenly spaced; the area of a triangle is 1 (in Hz).
    peaks = filters.argmax(0)[:20] * 31.25
    assert torch.all((peaks.diff() - 37.2).abs() < 32)
    assert filters[:, 60:].sum(0) * 31.25 == pytest.approx(torch.ones(20), rel=0.02)


def test_batching_does_not_change_modern_features():
    waveforms, lens = make_audio(4000, 2411)
    frontend = LogMel(20).eval()
    features, feature_lens = frontend(waveforms, lens)
    alone, _ = frontend(waveforms[1:, :2411], lens[1:])
    assert feature_lens.tolist() == [25, 15]
    torch.testing.assert_close(features[1, :15], alone[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("frontend", ["modern", "legacy"])
def test_padding_is_zero(frontend):
    features, lens = LogMel(20, frontend=frontend).eval()(*make_audio(4000, 2411))
    assert features[1, lens[1] :].abs().max() == 0


def test_legacy_counts_one_frame_more_and_sees_reflection():
    waveforms, lens = make_audio(3200)
    modern, _ = LogMel(20).eval()(waveforms, lens)
    legacy, legacy_lens = LogMel(20, frontend="legacy").eval()(waveforms, lens)
    assert modern.shape == (1, 20, 20)
    assert legacy.shape == (1, 21, 20)
    assert legacy_lens.tolist() == [21]
    assert (legacy[0, 0] - modern[0, 0]).abs().max() > 0.01


def test_int16_equals_float():
    waveforms, lens = make_audio(3200)
    samples = (waveforms * 32768).round().to(torch.int16)
    frontend = LogMel(20).eval()
    torch.testing.assert_close(frontend(samples, lens)[0], frontend(samples.float() / 32768, lens)[0])


def test_dither_only_in_training():
    waveforms, lens = make_audio(3200)
    frontend = LogMel(20, dither=0.1)
    assert not torch.equal(frontend(waveforms, lens)[0], frontend(waveforms, lens)[0])
    frontend.eval()
    assert torch.equal(frontend(waveforms, lens)[0], frontend(waveforms, lens)[0])


@pytest.mark.parametrize("frontend", ["modern", "legacy"])
@pytest.mark.parametrize("num_samples", [1, 100, 160, 300])
def test_very_short_audio_stays_finite(num_samples, frontend):
    waveforms, lens = make_audio(num_samples)
    features, feature_lens = LogMel(20, frontend=frontend).eval()(waveforms, lens)
    assert features.isfinite().all()
    assert feature_lens.item() <= features.shape[1]


def test_autocast_does_not_reach_the_features():
    waveforms, lens = make_audio(3200)
    frontend = LogMel(20).eval()
    with torch.autocast("cpu", torch.bfloat16):
        features, _ = frontend(waveforms, lens)
    assert torch.equal(features, frontend(waveforms, lens)[0])


def test_nothing_is_saved():
    assert LogMel().state_dict() == {}


def test_window_must_fit_the_transform():
    with pytest.raises(ValueError, match="`sampling_rate` must be between 100 and 20480, got 48000"):
        LogMel(sampling_rate=48000)


@pytest.mark.parametrize("num_mels", [80, 128])
def test_published_numbers_of_mels_have_no_empty_filter(num_mels):
    assert (mel_filters(num_mels, 16000).sum(0) > 0).all()


def test_all_features_are_normalised_together():
    features, lens = LogMel(20, normalize="all_features").eval()(*make_audio(4000, 2411))
    for row, length in zip(features, lens.tolist(), strict=True):
        assert row[:length].mean().item() == pytest.approx(0, abs=1e-5)
        assert row[:length].std().item() == pytest.approx(1, abs=1e-4)
        assert not row[length:].any()


def test_features_can_stay_logarithms():
    waveforms, lens = make_audio(4000, 2411)
    logs, _ = LogMel(20, normalize="none").eval()(waveforms, lens)
    features, feature_lens = LogMel(20).eval()(waveforms, lens)
    row, length = logs[1], feature_lens[1]
    expected = (row[:length] - row[:length].mean(0)) / (row[:length].std(0) + 1e-5)
    torch.testing.assert_close(features[1, :length], expected)
    assert not row[length:].any()


@pytest.mark.parametrize("normalize", ["per_feature", "all_features", "none"])
@pytest.mark.parametrize("frontend", ["modern", "legacy"])
def test_a_single_frame_stays_finite(normalize, frontend):
    features, lens = LogMel(20, frontend=frontend, normalize=normalize).eval()(*make_audio(160))
    assert features.isfinite().all()
    assert lens.item() == (2 if frontend == "legacy" else 1)


@pytest.mark.parametrize("num_samples", [2560, 2700])
def test_frames_can_be_padded_to_a_multiple(num_samples):
    waveforms, lens = make_audio(num_samples)
    features, feature_lens = LogMel(20, frontend="legacy").eval()(waveforms, lens)
    padded, padded_lens = LogMel(20, frontend="legacy", pad_to=16).eval()(waveforms, lens)
    assert padded.shape == (1, 32, 20)
    assert torch.equal(padded[:, : features.shape[1]], features)
    assert torch.equal(padded_lens, feature_lens)
    assert not padded[:, features.shape[1] :].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize": "all"}, "`normalize` must be per_feature, all_features, none, got 'all'"),
        ({"pad_to": -1}, "`pad_to` must be 0 or more, got -1"),
        ({"num_mels": 0}, "`num_mels` must be 1 or more, got 0"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**settings)


def test_unknown_frontend_is_named():
    with pytest.raises(ValueError, match="`frontend` must be modern or legacy, got 'old'"):
        LogMel(frontend="old")
