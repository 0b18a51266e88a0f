import pytest
import torch
from omegaconf import OmegaConf, ValidationError

from maya_encoder.heads.tdt import TDTConfig
from maya_encoder.heads.transducer_loss import TransducerSettings, transducer_loss

LANG_VOCAB = {"hi": [0, 1, 2], "bn": [5, 3, 4]}


def make_head(**options):
    torch.manual_seed(0)
    config = TDTConfig(prediction_size=8, joint_size=12, **options)
    return config.build(in_dim=6, vocab_size=7, lang_vocab=LANG_VOCAB if config.lang_outputs else None)


def make_batch():
    torch.manual_seed(1)
    return (
        torch.randn(2, 9, 6),
        torch.tensor([9, 6]),
        torch.tensor([[1, 2, 1], [0, 2, -1]]),
        torch.tensor([3, 2]),
    )


def by_hand(head, **settings):
    encoder_out, lens, tokens, token_lens = make_batch()
    tokens = tokens.clamp(min=0)
    parts = head.joint.enc(encoder_out), head.joint.pred(head.prediction(tokens))
    output = head.joint.joint_net[2]
    settings = TransducerSettings(durations=head.durations, **settings)
    return transducer_loss(*parts, (output.weight, output.bias), lens, tokens, token_lens, settings)


def test_sigma_always_acts_and_omega_in_training_only():
    head = make_head(durations=(0, 1, 3), sigma=0.3, omega=0.4)
    torch.testing.assert_close(head.train().loss(*make_batch()), by_hand(head, sigma=0.3, omega=0.4))
    torch.testing.assert_close(head.eval().loss(*make_batch()), by_hand(head, sigma=0.3))


def test_every_parameter_learns():
    head = make_head()
    head.loss(*make_batch(), reduction="mean_batch").backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert (head.joint.joint_net[2].bias.grad[7:] != 0).all()


@pytest.mark.parametrize("lang_outputs", [False, True])
def test_durations_follow_the_blank_in_the_output_layer(lang_outputs):
    head = make_head(durations=[0, 2], lang_outputs=lang_outputs)
    assert head.durations == (0, 2)
    assert head.config.durations == (0, 2)
    rows = [4 + 2, 4 + 2] if lang_outputs else [7 + 2]
    shapes = [p.shape for name, p in head.named_parameters() if name.startswith("joint.joint_net.2")]
    assert [shape[0] for shape in shapes if len(shape) == 1] == rows
    assert head.prediction.embed.weight.shape == (7, 8)
    lang_ids = torch.tensor([0, 0]) if lang_outputs else None
    assert head.loss(*make_batch(), lang_ids).isfinite().all()


def test_config_can_be_typed_yaml():
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TDTConfig), {"durations": [0, 2]}))
    assert isinstance(config, TDTConfig)
    assert config.durations == (0, 2)
    with pytest.raises(ValidationError):
        OmegaConf.merge(OmegaConf.structured(TDTConfig), {"durations": ["long"]})


def test_decoding_writes_labels_only():
    head = make_head(max_symbols=2).eval()
    with torch.no_grad():
        head.joint.joint_net[2].weight.mul_(10)
    found = head.decode(torch.randn(3, 40, 6) * 3, torch.tensor([40, 12, 0]))
    assert found[0]
    assert {token for row in found for token in row} <= set(range(6))
    assert found[2] == []


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"durations": ()}, "`durations` must hold one or more"),
        ({"durations": (0,)}, "`durations` must be frames from 0 up, not all 0"),
        ({"omega": 2.0}, "`omega` must be from 0 to 1, got 2.0"),
        ({"sigma": -1.0}, "`sigma` must be 0 or more, got -1.0"),
        ({"joint_size": 0}, "`joint_size` must be 1 or more"),
    ],
)
def test_bad_settings_are_named(options, wanted):
    with pytest.raises(ValueError, match=wanted):
        TDTConfig(**options)
