from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maya_bridge.injection_hooks import decoder_layers, injected
from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.recompute import recomputing


class Shift:
    """Adds its vector, times the index, after some layers."""

    def __init__(self, *layers):
        self.layers = layers
        self.vector = nn.Parameter(torch.randn(32, generator=torch.Generator().manual_seed(1)))

    def __call__(self, layer, hidden, unit_index):
        return hidden + unit_index[..., None] * self.vector * (layer + 1)


@pytest.fixture
def llm(letters):
    torch.manual_seed(0)
    config = LLMConfig(source="tiny", script="common", hidden_size=32, num_heads=2, num_layers=3)
    return load_llm(config, [" ", *letters])[0].eval()


IDS = torch.tensor([[2, 5, 20, 21, 22], [2, 5, 23, 20, 25]])
INDEX = torch.tensor([[0, 0, 1, 2, 2], [0, 0, 0, 1, 3]])


def test_states_come_in_inside_the_block_only(llm):
    with torch.no_grad():
        before = llm(IDS).logits
        with injected(llm, Shift(0, 2), INDEX):
            inside = llm(IDS).logits
        after = llm(IDS).logits

    assert not torch.allclose(before, inside)
    assert torch.equal(before[:, :2], inside[:, :2])
    assert torch.equal(before, after)


def test_hooks_go_when_the_block_fails(llm):
    with pytest.raises(RuntimeError, match="stop"), injected(llm, Shift(0), INDEX):
        raise RuntimeError("stop")

    assert not any(layer._forward_hooks for layer in llm.model.layers)


def test_nothing_happens_without_an_injection(llm):
    with torch.no_grad(), injected(llm, None, None):
        assert torch.equal(llm(IDS).logits, llm(IDS).logits)


def test_steps_with_a_cache_equal_one_pass(llm):
    shift = Shift(0, 1)
    with torch.no_grad(), injected(llm, shift, INDEX):
        whole = llm(IDS).logits
    cache, steps = None, []
    for begin, end in ((0, 2), (2, 3), (3, 5)):
        with torch.no_grad(), injected(llm, shift, INDEX[:, begin:end]):
            out = llm(IDS[:, begin:end], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        steps.append(out.logits)

    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_checkpointed_layers_have_the_same_gradients(llm, reentrant, frozen):
    def gradients():
        shift = Shift(0, 1, 2)
        llm.zero_grad()
        embeds = llm.get_input_embeddings()(IDS).detach().requires_grad_()
        with injected(llm, shift, INDEX), recomputing(llm):
            loss = llm(inputs_embeds=embeds, use_cache=False).logits.square().mean()
        loss.backward()  # outside: nothing of the injection may be missing when layers run again
        return [shift.vector.grad, embeds.grad, *(p.grad for p in llm.parameters() if p.grad is not None)]

    llm.train(not frozen).requires_grad_(not frozen)
    plain = gradients()
    checkpoint(llm, {"use_reentrant": reentrant})
    checkpointed = gradients()

    for one, other in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(one, other)


def checkpoint(llm, how):
    enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
    enable(how)


@pytest.mark.parametrize("training", [False, True])
def test_states_come_in_once_where_layers_are_checkpointed(llm, training):
    with torch.no_grad(), injected(llm, Shift(0, 2), INDEX):
        wanted = llm(IDS, use_cache=False).logits
    checkpoint(llm.train(training), {"use_reentrant": False})
    with injected(llm, Shift(0, 2), INDEX):
        found = llm(IDS, use_cache=False).logits

    torch.testing.assert_close(found, wanted)
    assert not any(layer._forward_hooks for layer in llm.model.layers)


def test_layers_that_return_more_than_their_hidden_states_work(llm):
    class Pair(nn.Module):
        def forward(self, hidden):
            return hidden, "more"

    layers = nn.ModuleList([Pair()])
    other = SimpleNamespace(model=SimpleNamespace(layers=layers))
    hidden = torch.zeros(2, 5, 32)
    with injected(other, Shift(0), INDEX):
        out, more = layers[0](hidden)

    assert more == "more"
    assert out[1, 4].any()
    assert not out[:, 0].any()


def test_layers_are_found_inside_a_wrapper(llm):
    class Wrapper:
        def get_base_model(self):
            return llm

    assert decoder_layers(Wrapper()) is llm.model.layers
    assert decoder_layers(llm) is llm.model.layers


def test_misfits_are_told(llm):
    with (
        pytest.raises(ValueError, match="layers below the LLM's 3, got 3"),
        injected(llm, Shift(0, 3), INDEX),
    ):
        pass
    with pytest.raises(ValueError, match="`unit_index` must be given"), injected(llm, Shift(0), None):
        pass
    with (
        pytest.raises(ValueError, match=r"`unit_index` must be .* \(2, 5\) .*, got \(2, 4\)"),
        injected(llm, Shift(0), INDEX[:, 1:]),
    ):
        llm(IDS)
    with pytest.raises(ValueError, match="must keep its layers in `layers`"):
        decoder_layers(SimpleNamespace(model=nn.Linear(1, 1)))
