import json

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, GemmaTokenizer, PreTrainedTokenizerFast

from maya_bridge.spare_tokens import name_spare_tokens, with_special_tokens
from maya_bridge.text_side import LLMTokenizer


def gemma_like(num_unused):
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "a", "b", *(f"<unused{i}>" for i in range(num_unused))]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([name for name in names if name.startswith("<unused")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    )


def test_spare_tokens_take_our_names_and_keep_their_ids():
    before = gemma_like(20)

    after = with_special_tokens(before)

    assert len(after) == len(before)
    tokenizer = LLMTokenizer(after)
    assert [tokenizer.special_id(name) for name in ("<|audio|>", "<|/audio|>", "<|transcribe|>")] == [6, 7, 8]
    assert [tokenizer.lang_id(lang) for lang in ("as", "bn", "hi", "te")] == [12, 13, 16, 23]
    assert after.convert_ids_to_tokens(24) == "<unused18>"
    assert tokenizer.decode([16, 4, 5], "hi") == "ab"


def test_a_tokenizer_that_knows_the_tokens_is_left_alone():
    named = with_special_tokens(gemma_like(20))

    assert with_special_tokens(named) is named


def test_too_few_spare_tokens_are_an_error(tmp_path):
    gemma_like(5).save_pretrained(tmp_path)

    with pytest.raises(ValueError, match="must hold 18 <unused> tokens, got no <unused5>"):
        name_spare_tokens(tmp_path / "tokenizer.json")


def test_our_names_are_special_in_the_file(tmp_path):
    gemma_like(18).save_pretrained(tmp_path)

    name_spare_tokens(tmp_path / "tokenizer.json")

    data = json.loads((tmp_path / "tokenizer.json").read_text())
    assert all(token["special"] for token in data["added_tokens"] if token["content"].startswith("<|"))
    assert not any(token.startswith("<unused") for token in data["model"]["vocab"])


def test_renamed_gemma_tokenizer_survives_saving(tmp_path):
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]"]
    names += [*(f"<unused{i}>" for i in range(20)), "\u2581", "a", "b"]
    plain = GemmaTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[])
    with_special_tokens(plain).save_pretrained(tmp_path)

    again = AutoTokenizer.from_pretrained(tmp_path)

    assert len(again) == len(plain)
    tokenizer = LLMTokenizer(with_special_tokens(again))
    assert (tokenizer.special_id("<|audio|>"), tokenizer.lang_id("te")) == (6, 23)
    assert tokenizer.decode([23, *tokenizer.encode("a b", "en"), tokenizer.eos_id], "en") == "a b"
