import pytest
import torch
from torch.nn import functional as F

from maya_encoder.language_prompt import LanguagePrompt


def make_prompt():
    torch.manual_seed(0)
    return LanguagePrompt(6, num_prompts=4)


def test_it_equals_the_network_over_frames_with_a_one_hot_vector():
    prompt, frames, lang_ids = make_prompt(), torch.randn(2, 5, 6), torch.tensor([3, 0])
    one_hot = F.one_hot(lang_ids, 4).float()[:, None].expand(-1, 5, -1)
    expected = prompt["2"](prompt["0"](torch.cat([frames, one_hot], dim=-1)).relu())
    torch.testing.assert_close(prompt(frames, lang_ids), expected)


def test_names_and_shapes_are_those_of_nemo_checkpoints():
    shapes = {name: tuple(tensor.shape) for name, tensor in make_prompt().state_dict().items()}
    assert shapes == {"0.weight": (12, 10), "0.bias": (12,), "2.weight": (6, 12), "2.bias": (6,)}


def test_low_precision_keeps_its_type():
    prompt = make_prompt().to(torch.bfloat16)
    assert prompt(torch.randn(1, 2, 6, dtype=torch.bfloat16), torch.tensor([1])).dtype == torch.bfloat16


def test_no_prompts_are_refused():
    with pytest.raises(ValueError, match="`num_prompts` must be 1 or more, got 0"):
        LanguagePrompt(6, 0)
