import pytest
import torch

from maya_encoder import layout
from maya_encoder.fastconformer import FastConformerConfig, _sometimes_kept

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


def random_settings():
    """Every choice that changes what a frame sees or how padding is dealt with."""
    local = {"attention": "rel_pos_local_attn", "attention_context": (3, 2)}
    chunks = {"attention_context": (6, 2), "context_style": "chunked_limited"}
    return {
        "default": {},
        "conformer": {"subsampling": "striding", "conv_kernel": 31, "xscaling": True, "use_bias": True},
        "layer norm": {"conv_norm": "layer_norm"},
        "limited": {"attention_context": (3, 0)},
        "chunked": chunks,
        "local": local,
        "local, wide": {**local, "attention_context": (100, 100)},
        "tied": {"untie_biases": False},
        "conv chunks": {"conv_chunking": 2},
        "legacy": {"masked_subsampling": False},
    }


def randomized(encoder):
    """Weights and statistics that no default value hides."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in encoder.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif "pos_bias" in name:
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return encoder


@pytest.mark.parametrize("length", [97, 41, 22, 1])
@pytest.mark.parametrize("settings", random_settings().values(), ids=random_settings())
def test_padding_never_changes_a_valid_frame(settings, length):
    encoder = randomized(make_encoder(**settings)).eval()
    features = torch.randn(2, 101, 16)
    masked = encoder.config.masked_subsampling
    features[1, length:] = 100.0 if masked else 0.0
    out, lens = encoder(features, torch.tensor([101, length]))
    # Convolutions without masks do see padding: there, one must be padded alike to come out alike.
    alone = features[1:, :length] if masked else features[1:]
    expected, _ = encoder(alone, torch.tensor([length]))
    torch.testing.assert_close(out[1, : lens[1]], expected[0, : lens[1]], atol=2e-5, rtol=1e-4)
    assert not out[1, lens[1] :].any()


@pytest.mark.parametrize("settings", random_settings().values(), ids=random_settings())
def test_an_utterance_without_frames_stays_finite(settings):
    encoder = make_encoder(**settings)
    out, lens = encoder(torch.randn(2, 20, 16), torch.tensor([20, 0]))
    assert lens.tolist() == [5, 0]
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@pytest.mark.parametrize("settings", random_settings().values(), ids=random_settings())
def test_inference_gives_what_training_code_gives(settings):
    encoder, features = randomized(make_encoder(**settings)).eval(), torch.randn(2, 61, 16)
    lens = torch.tensor([61, 30])
    expected = encoder(features, lens).encoder_out
    with torch.inference_mode():
        torch.testing.assert_close(encoder(features, lens).encoder_out, expected)


def test_padding_does_not_change_training():
    """Gradients and statistics, with padding masked, left out, or twice as long."""
    features, found = torch.randn(2, 60, 16), []
    for num_frames, share in ((60, 0.0), (60, 1.0), (120, 0.0), (120, 1.0)):
        padded = torch.nn.functional.pad(features, (0, 0, 0, num_frames - 60), value=9.0)
        encoder = make_encoder()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "MIN_PADDED_SHARE", share)
            out, _ = encoder(padded, torch.tensor([60, 29]))
        out[:, :15].square().sum().backward()
        statistics = [buffer for name, buffer in encoder.named_buffers() if "running" in name]
        found.append([parameter.grad for parameter in encoder.parameters()] + statistics)
    for others in found[1:]:
        for ours, theirs in zip(found[0], others, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)


def test_the_output_unpacks_and_has_names():
    encoder, lens = make_encoder().eval(), torch.tensor([24])
    found = encoder(torch.randn(1, 24, 16), lens)
    encoder_out, encoder_out_lens = found
    assert found.encoder_out is encoder_out
    assert found.encoder_out_lens is encoder_out_lens


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


def test_languages_are_needed_for_an_embedding():
    with pytest.raises(ValueError, match="no languages were given"):
        make_encoder(lang_embedding="input")


@pytest.mark.parametrize("position", ["input", "output"])
def test_without_language_ids_the_embedding_is_left_out(position):
    plain, knowing = make_encoder().eval(), make_encoder(langs=("hi",), lang_embedding=position).eval()
    plain.load_state_dict(knowing.state_dict(), strict=False)
    features, lens = torch.randn(1, 24, 16), torch.tensor([24])
    assert torch.equal(knowing(features, lens)[0], plain(features, lens)[0])


@pytest.mark.parametrize("position", ["input", "output"])
@pytest.mark.parametrize("length", [40, 17])
def test_every_utterance_gets_its_own_language(position, length):
    encoder = make_encoder(langs=("hi", "ta"), lang_embedding=position).eval()
    features, ids = torch.randn(2, 40, 16), torch.tensor([0, 1])
    out, lens = encoder(features, torch.tensor([40, length]), ids)
    for i, num_frames in enumerate([40, length]):
        alone, _ = encoder(features[i : i + 1, :num_frames], torch.tensor([num_frames]), ids[i : i + 1])
        torch.testing.assert_close(out[i, : lens[i]], alone[0])


def test_language_ids_are_ignored_without_an_embedding():
    encoder = make_encoder().eval()
    features, lens = torch.randn(1, 24, 16), torch.tensor([24])
    assert torch.equal(encoder(features, lens, torch.tensor([0]))[0], encoder(features, lens)[0])


def test_attention_can_be_switched_on_a_trained_model():
    encoder, features, lens = randomized(make_encoder()).eval(), torch.randn(1, 200, 16), torch.tensor([200])
    whole = encoder(features, lens).encoder_out
    encoder.set_attention("rel_pos_local_attn", context=(4, 4))
    local = encoder(features, lens).encoder_out
    assert not torch.allclose(local, whole)
    encoder.set_attention("rel_pos", context=(4, 4))
    torch.testing.assert_close(encoder(features, lens).encoder_out, local)
    encoder.set_attention("rel_pos")
    assert torch.equal(encoder(features, lens).encoder_out, whole)


def test_switched_attention_is_in_the_config():
    encoder = make_encoder()
    encoder.set_attention("rel_pos_local_attn", context=[4, 2])
    assert (encoder.config.attention, encoder.config.attention_context) == ("rel_pos_local_attn", (4, 2))


def test_a_refused_switch_changes_nothing():
    encoder = make_encoder()
    with pytest.raises(ValueError, match="`attention_context` of local attention must be 0 or more"):
        encoder.set_attention("rel_pos_local_attn")
    assert encoder.config == make_encoder().config


def test_local_attention_sees_as_far_as_its_window_in_every_block():
    encoder = make_encoder(attention="rel_pos_local_attn", attention_context=(2, 1), conv_kernel=1).eval()
    features, lens = torch.randn(1, 160, 16), torch.tensor([160])
    changed = features.clone()
    changed[:, 80:84] += 1.0  # input of frame 20, and through the convolutions of 20 and 21
    moved = (encoder(features, lens)[0] - encoder(changed, lens)[0]).abs().amax(-1)[0]
    assert moved.nonzero()[:, 0].tolist() == list(range(20 - 2 * 1, 21 + 2 * 2 + 1))


def test_tied_biases_are_one_pair():
    encoder = make_encoder(untie_biases=False)
    names = [name for name, _ in encoder.named_parameters() if "pos_bias" in name]
    assert names == ["layers.0.self_attn.pos_bias_u", "layers.0.self_attn.pos_bias_v"]
    assert "layers.1.self_attn.pos_bias_u" in encoder.state_dict()
    encoder(torch.randn(1, 24, 16), torch.tensor([24]))[0].square().sum().backward()
    assert encoder.layers[1].self_attn.pos_bias_v.grad.abs().max() > 0


def test_stochastic_depth_leaves_blocks_out_in_training_only():
    torch.manual_seed(0)
    features, lens = torch.randn(1, 24, 16), torch.tensor([24])
    encoder = make_encoder(stochastic_depth=0.5, num_layers=1)

    def outputs():
        return {tuple(encoder(features, lens)[0].flatten().tolist()) for _ in range(20)}

    encoder.eval()
    assert len(outputs()) == 1
    encoder.train()
    assert len(outputs()) == 2  # the block's change twice as large, or none


def test_stochastic_depth_keeps_the_mean_and_every_gradient():
    torch.manual_seed(0)
    x, out = torch.zeros(()), torch.ones(())
    draws = [_sometimes_kept(x, out, 0.25).item() for _ in range(2000)]
    assert sum(draws) / len(draws) == pytest.approx(1.0, abs=0.05)
    assert sorted(set(draws)) == pytest.approx([0.0, 4 / 3])
    encoder = make_encoder(stochastic_depth=0.999)
    encoder(torch.randn(1, 24, 16), torch.tensor([24]))[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


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


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler asks every tensor for it
@torch.no_grad()
def test_a_compiler_gets_the_same_numbers():
    encoder, features = randomized(make_encoder(num_layers=1)).eval(), torch.randn(2, 60, 16)
    compiled = torch.compile(encoder, backend="eager", dynamic=True)
    for length in (60, 22):
        lens = torch.tensor([60, length])
        out, out_lens = compiled(features, lens)
        expected, _ = encoder(features, lens)
        torch.testing.assert_close(out, expected)
        assert out_lens.tolist() == [15, -(-length // 4)]


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
        ({"stochastic_depth": -0.1}, "`stochastic_depth` must be at least 0 and below 1, got -0.1"),
        ({"conv_chunking": -2}, "`conv_chunking` must be -1 or more, got -2"),
        ({"attention": "abs_pos"}, "`attention` must be rel_pos or rel_pos_local_attn, got 'abs_pos'"),
        ({"attention_context": (1,)}, r"`attention_context` must be two numbers of -1 or more, got \(1,\)"),
        ({"attention": "rel_pos_local_attn"}, "`attention_context` of local attention must be 0 or more"),
        (
            {
                "attention": "rel_pos_local_attn",
                "attention_context": (2, 2),
                "context_style": "chunked_limited",
            },
            "`context_style` of local attention must be regular, got 'chunked_limited'",
        ),
        (
            {"attention_context": (5, 1), "context_style": "chunked_limited"},
            "`attention_context` must be whole chunks of 2 to the left, got 5",
        ),
    ],
)
def test_impossible_sizes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        FastConformerConfig(**{**TINY, **settings})
