"""A deeper copy computes what the model computes, and its new layers learn."""

import pytest
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.checkpoint import load, save
from maya_encoder.expand import BRANCH_ENDS, expand_layers, new_layers_behind
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig


def make_encoder(num_layers=6, trained=True, **settings):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_heads": 2, "subsampling_channels": 4, "dropout": 0.0, "use_bias": True}
    encoder = FastConformerConfig(num_layers=num_layers, **{**sizes, **settings}).build(16)
    if trained:  # gains, offsets and statistics as they look after training, and branches that matter
        for name, tensor in encoder.state_dict().items():
            if "norm" in name and name.endswith(("weight", "var")):
                tensor.copy_(0.2 + torch.rand_like(tensor))
            elif "norm" in name and tensor.is_floating_point():
                tensor.copy_(0.3 * torch.randn_like(tensor))
            elif tensor.ndim > 1 and "layers" in name:
                tensor.mul_(2)
    return encoder.eval()


def batch():
    return torch.randn(3, 120, 16), torch.tensor([120, 77, 30])


@pytest.mark.parametrize("how", ["interpolate", "duplicate"])
@pytest.mark.parametrize(
    "settings", [{}, {"conv_norm": "layer_norm"}, {"untie_biases": False, "use_bias": False}]
)
@torch.no_grad()
def test_output_is_unchanged(how, settings):
    encoder = make_encoder(**settings)
    features, lens = batch()
    deeper = expand_layers(encoder, 8, how)
    assert len(deeper.layers) == deeper.config.num_layers == 8
    assert len(encoder.layers) == encoder.config.num_layers == 6
    expected = encoder(features, lens).encoder_out
    torch.testing.assert_close(deeper(features, lens).encoder_out, expected, atol=5e-6, rtol=0)


@torch.no_grad()
def test_24_layers_become_32_within_rounding():
    encoder = make_encoder(24, trained=False)
    features, lens = batch()
    expected = encoder(features, lens).encoder_out
    found = expand_layers(encoder).layers
    assert len(found) == 32
    torch.testing.assert_close(
        expand_layers(encoder)(features, lens).encoder_out, expected, atol=5e-6, rtol=0
    )


@torch.no_grad()
def test_many_new_layers_in_a_row_are_unchanged_too():
    encoder = make_encoder(2)
    features, lens = batch()
    deeper = expand_layers(encoder, 9)
    torch.testing.assert_close(
        deeper(features, lens).encoder_out, encoder(features, lens).encoder_out, atol=5e-6, rtol=0
    )


def test_training_mode_gives_the_same_output_and_statistics():
    encoder = make_encoder()
    deeper = expand_layers(encoder, 8)
    features, lens = batch()
    expected = encoder.train()(features, lens).encoder_out
    torch.testing.assert_close(deeper.train()(features, lens).encoder_out, expected, atol=1e-4, rtol=0)
    old = [i for i, layer in enumerate(deeper.layers) if not is_new(layer)]
    for i, layer in zip(old, encoder.layers, strict=True):
        found = deeper.layers[i].conv.batch_norm.running_mean
        torch.testing.assert_close(found, layer.conv.batch_norm.running_mean, atol=1e-4, rtol=0)


def is_new(layer):
    return all(not layer.get_submodule(name).weight.any() for name in BRANCH_ENDS)


def test_gradients_reach_every_branch_of_the_new_layers():
    deeper = expand_layers(make_encoder(), 8).train()
    new = [layer for layer in deeper.layers if is_new(layer)]
    assert len(new) == 2
    optimizer = torch.optim.SGD(deeper.parameters(), lr=0.1)
    target = torch.randn(3, 15, 32)
    for _ in range(2):  # at first only the projections that are zero have a gradient
        optimizer.zero_grad()
        (deeper(*batch()).encoder_out - target).square().mean().backward()
        optimizer.step()
        for layer in new:
            for name in BRANCH_ENDS:
                assert layer.get_submodule(name).weight.grad.any(), name
    for layer in new:
        for name, parameter in layer.named_parameters():
            if "depthwise_conv.bias" not in name:  # which batch norm takes off again
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name


def test_new_layers_lie_between_old_ones():
    assert new_layers_behind(24, 32) == [
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        1,
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        1,
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
    ]
    assert new_layers_behind(2, 3) == [1, 0]
    assert new_layers_behind(1, 3) == [2]
    assert all(sum(new_layers_behind(n, n + k)) == k for n in range(1, 9) for k in range(1, 9))


def test_interpolated_layers_are_means_and_duplicated_ones_copies():
    encoder = make_encoder(2)
    name = "self_attn.linear_q.weight"
    first, second = (layer.get_parameter(name) for layer in encoder.layers)
    mean = expand_layers(encoder, 3, "interpolate").layers[1].get_parameter(name)
    torch.testing.assert_close(mean, (first + second) / 2)
    copied = expand_layers(encoder, 3, "duplicate").layers[1].get_parameter(name)
    assert torch.equal(copied, first)
    assert copied is not first


def test_shared_position_biases_stay_shared():
    deeper = expand_layers(make_encoder(untie_biases=False), 8)
    assert len({id(layer.self_attn.pos_bias_u) for layer in deeper.layers}) == 1


def test_model_is_saved_and_loaded_with_its_new_depth(tokenizer, tmp_path):
    encoder = FastConformerConfig(num_layers=2, hidden_size=16, num_heads=2, subsampling_channels=4)
    config = AcousticModelConfig(
        encoder=encoder, heads={"ctc": CTCConfig()}, langs=("hi",), frontend={"num_mels": 16}
    )
    model = AcousticModel(config, tokenizer).eval()
    deeper = expand_layers(model, 4)
    assert model.config.encoder.num_layers == 2
    save(deeper, tmp_path / "deeper")
    features, lens = batch()
    with torch.no_grad():
        expected = model.encoder(features, lens).encoder_out
        found = load(tmp_path / "deeper").encoder(features, lens).encoder_out
    torch.testing.assert_close(found, expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((6,), "`num_layers` must be more than the 6 that the encoder has, got 6"),
        ((8, "copy"), "`how` must be interpolate or duplicate, got 'copy'"),
    ],
)
def test_impossible_wishes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        expand_layers(make_encoder(), *arguments)
