import pytest
import torch
from torch import nn

from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.prompt import IGNORED, PromptBatch
from maya_bridge.recompute import enable_recompute
from maya_bridge.target_loss import target_loss


def tiny(checkpoint_activations):
    torch.manual_seed(0)
    fields = {"hidden_size": 16, "num_heads": 2, "checkpoint_activations": checkpoint_activations}
    return load_llm(LLMConfig(source="tiny", **fields), "abcdefghij ")[0]


def run(llm):
    """Loss, gradient of the input, and how often the layers ran, backward pass counted."""
    calls = []
    llm.model.layers[0].mlp.register_forward_hook(lambda *_: calls.append(1))
    ids = torch.tensor([[2, 20, 21, 22]])
    embeds = llm.get_input_embeddings()(ids).detach().requires_grad_(True)
    labels = torch.tensor([[IGNORED, IGNORED, 21, 22]])
    loss = target_loss(llm, PromptBatch(embeds, torch.ones_like(ids), torch.arange(4)[None], labels))
    loss.backward()
    return loss.detach(), embeds.grad, len(calls)


@pytest.mark.parametrize("training", [True, False])
def test_layers_run_again_in_the_backward_pass_for_the_same_gradients(training):
    """A frozen LLM is in eval mode, where transformers alone would not checkpoint."""
    plain = run(tiny(False).train(training))
    again = run(tiny(True).train(training))

    assert (plain[2], again[2]) == (1, 2)
    torch.testing.assert_close(again[0], plain[0])
    torch.testing.assert_close(again[1], plain[1])


def test_a_frozen_llm_is_in_eval_mode_again_afterwards():
    llm = tiny(True).eval()

    run(llm)

    assert not any(part.training for part in llm.modules())


def test_an_llm_that_cannot_is_named():
    with pytest.raises(ValueError, match="`checkpoint_activations` must be false for Linear, got true"):
        enable_recompute(nn.Linear(1, 1))
