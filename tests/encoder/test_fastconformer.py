import pytest
import torch

from maya_encoder.fastconformer import FastConformerConfig

TINY = {
    "num_layers": 2,
    "hidden_size": 16,
    "num_heads": 2,
    "subsampling_factor": 4,
    "subsampling_channels": 4,
}
# transformers' names on the left, ours (NeMo's) on the right.
PARAKEET_NAMES = {
    "subsampling.layers.": "pre_encode.conv.",
    "subsampling.linear.": "pre_encode.out.",
    ".q_proj.": ".linear_q.",
    ".k_proj.": ".linear_k.",
    ".v_proj.": ".linear_v.",
    ".o_proj.": ".linear_out.",
    ".relative_k_proj.": ".linear_pos.",
    ".bias_u": ".pos_bias_u",
    ".bias_v": ".pos_bias_v",
    ".conv.norm.": ".conv.batch_norm.",
}


def make_encoder(langs=(), **settings):
    torch.manual_seed(0)
    return FastConformerConfig(**{**TINY, "dropout": 0.0, **settings}).build(16, langs)


def make_parakeet(use_bias, xscaling):
    from transformers import ParakeetEncoder, ParakeetEncoderConfig

    config = ParakeetEncoderConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_mel_bins=16,
        subsampling_conv_channels=4,
        attention_bias=use_bias,
        convolution_bias=use_bias,
        scale_input=xscaling,
    )
    torch.manual_seed(0)
    encoder = ParakeetEncoder(config).eval()
    for name, tensor in encoder.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.rand_like(tensor) + 0.5 if "norm" in name else 0.3 * torch.randn_like(tensor))
    return encoder


def renamed(state):
    for theirs, ours in PARAKEET_NAMES.items():
        state = {name.replace(theirs, ours): tensor for name, tensor in state.items()}
    return state


@pytest.mark.parametrize(("use_bias", "xscaling"), [(False, False), (True, True)])
def test_parity_with_parakeet_of_transformers(use_bias, xscaling):
    parakeet = make_parakeet(use_bias, xscaling)
    encoder = make_encoder(subsampling_factor=8, use_bias=use_bias, xscaling=xscaling).eval()
    encoder.load_state_dict(renamed(parakeet.state_dict()))
    features, lens = torch.randn(2, 75, 16), torch.tensor([75, 44])
    mask = torch.arange(75) < lens[:, None]
    with torch.inference_mode():
        expected = parakeet(features, attention_mask=mask).last_hidden_state
        out, out_lens = encoder(features, lens)
    assert out_lens.tolist() == [10, 6]
    for row, other, length in zip(out, expected, out_lens.tolist(), strict=True):
        torch.testing.assert_close(row[:length], other[:length], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"subsampling": "striding", "conv_kernel": 31}, {"conv_norm": "layer_norm"}]
)
def test_padding_never_changes_a_valid_frame(settings):
    encoder = make_encoder(**settings).eval()
    features = torch.randn(2, 41, 16)
    features[1, 22:] = 100.0
    out, lens = encoder(features, torch.tensor([41, 22]))
    alone, _ = encoder(features[1:, :22], torch.tensor([22]))
    torch.testing.assert_close(out[1, : lens[1]], alone[0])


def test_out_lens_are_the_lengths_that_come_out():
    encoder = make_encoder(subsampling_factor=8).eval()
    for num_frames in range(1, 30):
        lens = torch.tensor([num_frames])
        out, out_lens = encoder(torch.randn(1, num_frames, 16), lens)
        assert torch.equal(out_lens, encoder.out_lens(lens))
        assert out.shape[1] == out_lens.item()


def test_17_layers_have_the_published_number_of_parameters():
    with torch.device("meta"):
        encoder = FastConformerConfig(use_bias=True).build(80)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 108_762_112


def test_every_parameter_learns():
    encoder = make_encoder(langs=("hi", "ta"), lang_embedding="input")
    out, _ = encoder(torch.randn(2, 40, 16), torch.tensor([40, 30]), torch.tensor([0, 1]))
    out.square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("position", ["input", "output"])
def test_language_changes_the_output(position):
    encoder = make_encoder(langs=("hi", "ta"), lang_embedding=position).eval()
    features, lens = torch.randn(1, 24, 16), torch.tensor([24])
    hindi, _ = encoder(features, lens, torch.tensor([0]))
    tamil, _ = encoder(features, lens, torch.tensor([1]))
    assert not torch.allclose(hindi, tamil)


def test_languages_are_asked_for():
    with pytest.raises(ValueError, match="no languages were given"):
        make_encoder(lang_embedding="input")
    encoder = make_encoder(langs=("hi",), lang_embedding="input")
    with pytest.raises(ValueError, match="`lang_ids` must be given"):
        encoder(torch.randn(1, 8, 16), torch.tensor([8]))


def test_language_ids_are_ignored_without_an_embedding():
    encoder = make_encoder().eval()
    features, lens = torch.randn(1, 24, 16), torch.tensor([24])
    assert torch.equal(encoder(features, lens, torch.tensor([0]))[0], encoder(features, lens)[0])


def train_once(encoder):
    torch.manual_seed(1)
    out, _ = encoder(torch.randn(2, 40, 16), torch.tensor([40, 30]))
    out.square().sum().backward()
    return out


def test_activation_checkpointing_changes_neither_gradients_nor_statistics():
    plain = make_encoder(dropout=0.2)
    saving = make_encoder(dropout=0.2, activation_checkpointing=True)
    torch.testing.assert_close(train_once(saving), train_once(plain))
    for ours, theirs in zip(saving.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for name, theirs in plain.named_buffers():
        if not name.endswith("num_batches_tracked"):  # read only without a momentum
            torch.testing.assert_close(saving.get_buffer(name), theirs, msg=name)


def test_autocast_to_bfloat16_stays_close():
    encoder = make_encoder().eval()
    features, lens = torch.randn(2, 40, 16), torch.tensor([40, 22])
    exact, out_lens = encoder(features, lens)
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = encoder(features, lens)
    for row, expected, length in zip(out, exact, out_lens.tolist(), strict=True):
        torch.testing.assert_close(row[:length].float(), expected[:length], atol=0.1, rtol=0.1)


def test_whole_model_in_bfloat16_runs():
    encoder = make_encoder().eval()
    features, lens = torch.randn(2, 40, 16), torch.tensor([40, 22])
    out, _ = encoder.to(torch.bfloat16)(features.to(torch.bfloat16), lens)
    assert out.dtype == torch.bfloat16
    assert out.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, "`num_layers` must be 1 or more, got 0"),
        ({"num_heads": 3}, "`hidden_size` must be even and a multiple of num_heads=3, got 16"),
        ({"conv_kernel": 8}, "`conv_kernel` must be odd and positive, got 8"),
        ({"subsampling_factor": 6}, "`subsampling_factor` must be 2, 4, 8 or 16, got 6"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1, got 1.0"),
    ],
)
def test_impossible_sizes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        FastConformerConfig(**{**TINY, **settings})
