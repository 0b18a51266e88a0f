"""Products of a few rows: the same numbers as torch's own, by whatever way."""

import pytest
import torch
from torch.nn import functional as F

from maya_bridge.decoding import few_rows
from maya_bridge.decoding.few_rows import FewRows

WIDE = torch.nn.Linear(512, 1100)


@torch.inference_mode()
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("huge", [few_rows.HUGE, 0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (1, 7), (3, 4), (48,), (2, 40), (81,), (0,)])
@pytest.mark.parametrize("layer", [WIDE, torch.nn.Linear(512, 3, bias=False)])
def test_result_is_that_of_a_linear_layer(shape, layer, huge, onednn, monkeypatch) -> None:
    monkeypatch.setattr(few_rows, "HUGE", huge)
    monkeypatch.setattr(few_rows, "has_onednn", lambda: onednn and torch.backends.mkldnn.is_available())
    x = torch.randn(*shape, 512)

    found = few_rows.linear(x, layer.weight, layer.bias)

    torch.testing.assert_close(found, F.linear(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-5)
    assert found.is_contiguous()


@torch.inference_mode()
def test_layers_inside_the_block_take_the_other_way(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(few_rows, "linear", lambda x, *more: seen.append(x.shape) or F.linear(x, *more))
    x = torch.randn(2, 8, 512)

    WIDE(x)
    with FewRows():
        WIDE(x)

    assert seen == [(2, 8, 512)]


@pytest.mark.parametrize("num_rows", [1, 3, 4, 80, 81])
def test_calls_are_watched_only_where_another_way_may_be_faster(num_rows) -> None:
    assert isinstance(few_rows.few_rows(num_rows), FewRows) == (4 <= num_rows <= 80)


def test_gradients_go_torchs_own_way() -> None:
    x = torch.randn(8, 512, requires_grad=True)

    with FewRows():
        WIDE(x).sum().backward()

    torch.testing.assert_close(x.grad, WIDE.weight.sum(dim=0).expand(8, -1))
