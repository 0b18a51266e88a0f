import pytest
import torch
from torch.nn import functional as F

from maya_bridge.projectors.smear_moe import MergedLinear, SmearMoE

D, H = 6, 10


def build(**fields):
    torch.manual_seed(0)
    return SmearMoE(**fields).build(in_dim=D, out_dim=H, embed_rms=0.5)


def test_merged_weights_are_those_of_the_mixture_of_each_row():
    torch.manual_seed(0)
    layer = MergedLinear(3, D, H)
    torch.nn.init.normal_(layer.bias)
    x, shares = torch.randn(2, 5, D), torch.tensor([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])

    found = layer(x, shares)

    for row in range(2):
        weight = sum(share * layer.weight[e] for e, share in enumerate(shares[row]))
        bias = sum(share * layer.bias[e] for e, share in enumerate(shares[row]))
        torch.testing.assert_close(found[row], x[row] @ weight + bias)


def test_one_expert_is_an_ordinary_mlp_without_a_balance_loss():
    projector = build(num_experts=1, stride=1)
    frames = torch.randn(1, 4, D)

    out = projector(frames, torch.tensor([4]))

    mixed = projector.norm(projector.conv(frames.transpose(1, 2)).transpose(1, 2))
    for layer in (projector.first, projector.second):
        mixed = mixed @ layer.weight[0] + layer.bias[0]
        mixed = F.silu(mixed) if layer is projector.first else mixed
    torch.testing.assert_close(out.speech_embeds, F.rms_norm(mixed, (H,), eps=1e-6) * 0.5)
    assert float(out.aux_losses["load_balance"].detach()) == pytest.approx(0, abs=1e-6)


def test_balance_loss_grows_from_zero_to_the_other_experts_as_one_takes_over():
    projector = build(num_experts=4, balance=0.1)
    frames, lens = torch.randn(8, 6, D), torch.full((8,), 6)
    torch.nn.init.zeros_(projector.router.weight)

    losses = []
    for favour in (0.0, 1.0, 100.0):
        with torch.no_grad():
            projector.router.bias.copy_(torch.tensor([favour, 0, 0, 0]))
        losses.append(float(projector(frames, lens).aux_losses["load_balance"].detach()))

    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses[0] < losses[1] < losses[2]
    assert losses[2] == pytest.approx(0.1 * 3)


def test_different_utterances_get_different_mixtures():
    projector = build()
    frames = torch.randn(2, 9, D)
    shares = projector._shares(frames, torch.tensor([9, 9]))

    assert shares.sum(dim=1).tolist() == pytest.approx([1, 1])
    assert not torch.allclose(shares[0], shares[1])
