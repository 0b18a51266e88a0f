import pytest
import torch
from torch import nn

from maya_bridge.any_model import open_model
from maya_bridge.transcribe_files.int8 import Int8Linear, num_bytes, quantise


def test_a_quantised_layer_is_near_and_does_not_depend_on_the_batch():
    torch.manual_seed(0)
    linear, x = nn.Linear(128, 64), torch.randn(2, 5, 128)
    int8 = Int8Linear(linear)
    with torch.inference_mode():
        found, expected = int8(x), linear(x)
        alone = int8(x[1, 2])
        louder = int8(torch.cat([x, 100 * x]))

    assert (found - expected).norm() < 0.02 * expected.norm()
    assert torch.equal(found[1, 2], alone)
    assert torch.equal(louder[:2], found)
    assert int8(torch.zeros(0, 128)).shape == (0, 64)
    assert int8(x.bfloat16()).dtype == torch.bfloat16


def test_tied_and_small_layers_stay_and_the_saving_is_told():
    model = nn.ModuleDict({"embed": nn.Embedding(100, 64), "head": nn.Linear(64, 100, bias=False)})
    model["head"].weight = model["embed"].weight
    model["wide"] = nn.Linear(64, 256)
    model["small"] = nn.Linear(8, 8)
    before = num_bytes(model.eval())

    saving = quantise(model)

    kinds = {name: type(part) for name, part in model.named_children()}
    assert kinds == {"embed": nn.Embedding, "head": nn.Linear, "wide": Int8Linear, "small": nn.Linear}
    assert (saving.before, saving.after, saving.layers) == (before, num_bytes(model), 1)
    assert before - saving.after == 64 * 256 * 3 - 256 * 4
    assert str(saving).startswith("int8: 1 linear layers, 0.1 MB of weights are now 0.0 MB")


def test_int8_is_for_the_cpu(tmp_path):
    with pytest.raises(ValueError, match="`int8` must be run on the CPU, got device cuda"):
        open_model(tmp_path, "cuda", int8=True)
