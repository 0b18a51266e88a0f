import pytest
import torch

from maya_encoder.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_share_of_zeros_is_the_rate_and_the_mean_stays(rate):
    torch.manual_seed(0)
    out = Dropout(rate)(torch.ones(200, 1001))
    assert (out == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert out.mean().item() == pytest.approx(1.0, abs=0.01)


def test_kept_values_are_scaled_exactly():
    torch.manual_seed(0)
    out = Dropout(0.25)(torch.ones(9, 9))
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.75])


def test_evaluation_and_rate_zero_change_nothing():
    x = torch.randn(3, 4)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_seed_decides():
    x = torch.ones(3, 7)
    torch.manual_seed(5)
    first = Dropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(Dropout(0.5)(x), first)


def test_gradient_passes_where_values_did():
    torch.manual_seed(0)
    x = torch.ones(5, 5, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_low_precision_keeps_its_type():
    assert Dropout(0.5)(torch.ones(3, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
