from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from maya_bridge.llm import LLMConfig, load_folder, make_tiny_llm
from maya_bridge.text_side import SPECIAL_TOKENS
from maya_bridge.tiny import common_characters

CONFIG = LLMConfig(source="tiny", script="common", hidden_size=16, num_heads=2)


def test_alphabet_is_the_characters_of_the_pieces_in_the_common_script():
    pieces = ["<unk>", "\u2581", "\u2581নম", "म", "a'"]
    tokenizer = SimpleNamespace(vocab_size=len(pieces), piece=pieces.__getitem__)

    assert common_characters(tokenizer) == sorted(" नमa'")


def test_vocabulary_is_the_alphabet_and_the_special_tokens():
    llm, tokenizer = make_tiny_llm(" नम", CONFIG)

    assert len(tokenizer.hf) == llm.config.vocab_size == 3 + 3 + len(SPECIAL_TOKENS)
    assert llm.config.layer_types == ["full_attention"] * 2
    assert llm.lm_head.weight is llm.model.embed_tokens.weight


def test_saved_folder_is_an_ordinary_one(tmp_path):
    llm, tokenizer = make_tiny_llm(" नम", CONFIG)
    llm.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)

    hub_llm, hub_tokenizer = (
        AutoModelForCausalLM.from_pretrained(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    ours_llm, ours_tokenizer = load_folder(tmp_path, CONFIG)

    ids = torch.tensor([tokenizer.encode("नम न", "hi")])
    assert hub_tokenizer(" नम न", add_special_tokens=False)["input_ids"] == ids[0].tolist()
    assert ours_tokenizer.encode("নম ন", "bn") == ids[0].tolist()
    for other in (hub_llm, ours_llm):
        torch.testing.assert_close(other(ids).logits, llm(ids).logits)
