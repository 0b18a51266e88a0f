import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from maya_bridge.adapters import adapter_config, adapter_tensors, load_adapter_tensors, trainable_part
from maya_bridge.llm import LLMConfig, equip, load_llm, save_llm
from maya_bridge.spare_tokens import SPARE_TOKENS
from maya_bridge.special_rows import LANG_NAMES, MEANING, attach_rows, fold_rows, rows_of
from maya_encoder.script import LANGS

ALPHABET = " abcdefghijklmnopqrstuvwxyzABEGHKMOPT"


def tiny(**fields):
    torch.manual_seed(0)
    return load_llm(LLMConfig(source="tiny", hidden_size=16, num_heads=2, **fields), ALPHABET)


def untied(tokenizer):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    llm = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer.hf), tie_word_embeddings=False, **sizes))
    return llm.requires_grad_(False)


def prompt(tokenizer):
    names = ["<|audio|>", "<|/audio|>", "<|transcribe|>", "<|hi|>"]
    return torch.tensor(
        [[tokenizer.bos_id, *map(tokenizer.special_id, names), *tokenizer.encode("ab", "en")]]
    )


def stir(rows):
    with torch.no_grad():
        for parameter in rows.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_every_special_token_has_a_meaning():
    assert set(MEANING) == set(SPARE_TOKENS)
    assert set(LANG_NAMES) == set(LANGS)


def test_rows_are_there_only_when_asked_for():
    plain, equipped = tiny()[0], tiny(special_rows=True)[0]

    assert rows_of(plain) is None
    assert rows_of(equipped).delta.shape == (len(equipped.special_rows.ids), 16)
    for name, value in plain.state_dict().items():  # the same random draws with and without
        torch.testing.assert_close(equipped.state_dict()[name], value, rtol=0, atol=0)


def test_a_row_begins_as_its_word_at_that_words_length():
    llm, tokenizer = tiny(special_rows=True)
    ids = torch.tensor(tokenizer.encode_piece(" audio"))
    embed = llm.get_input_embeddings()

    row = embed(torch.tensor(tokenizer.special_id("<|audio|>"))) / embed.embed_scale

    words = embed.weight[ids]
    torch.testing.assert_close(row.norm(), words.norm(dim=1).mean())
    assert torch.cosine_similarity(row, words.mean(0), dim=0) > 0.999


def test_only_the_rows_learn_and_the_frozen_embedding_stays():
    llm, tokenizer = tiny(special_rows=True)
    llm.requires_grad_(False)
    rows = rows_of(llm).requires_grad_(True)
    before = {name: value.clone() for name, value in llm.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in llm.parameters() if p.requires_grad], lr=0.1)

    ids = prompt(tokenizer)
    llm(ids).logits[:, -1, 4].sum().backward()
    optimizer.step()

    changed = [name for name, value in llm.state_dict().items() if not torch.equal(before[name], value)]
    assert changed == ["special_rows.delta"]
    used = torch.isin(rows.ids, ids)
    assert rows.delta.grad[used].abs().sum(dim=1).gt(0).all()


def test_a_predicted_special_token_learns_through_the_output_layer():
    llm, tokenizer = tiny(special_rows=True)
    llm.requires_grad_(False)
    rows = rows_of(llm).requires_grad_(True)
    target = tokenizer.lang_id("te")

    logits = llm(torch.tensor([[tokenizer.bos_id]])).logits[0, -1]
    torch.nn.functional.cross_entropy(logits[None], torch.tensor([target])).backward()

    assert rows.delta.grad[rows.ids == target].abs().sum() > 0


@pytest.mark.parametrize("tied", [True, False])
def test_folded_folder_is_a_plain_one_with_the_same_logits(tmp_path, tied):
    llm, tokenizer = tiny()
    llm = llm if tied else untied(tokenizer)
    stir(attach_rows(llm, tokenizer))
    ids = prompt(tokenizer)
    expected = llm(ids).logits

    save_llm(llm, tmp_path)
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    fold_rows(llm)

    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(again(ids).logits, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(llm(ids).logits, expected, rtol=1e-4, atol=1e-4)
    assert rows_of(llm) is None


def test_plain_llm_is_saved_as_transformers_saves_it(tmp_path):
    llm, _ = tiny()
    llm.save_pretrained(tmp_path / "theirs")
    save_llm(llm, tmp_path / "ours")

    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


def test_a_whole_llm_trains_with_the_rows_folded_in():
    llm, tokenizer = tiny(special_rows=True)
    expected = llm(prompt(tokenizer)).logits

    assert trainable_part(llm) is llm

    assert rows_of(llm) is None
    torch.testing.assert_close(llm(prompt(tokenizer)).logits, expected, rtol=1e-4, atol=1e-4)


def test_rows_survive_as_adapters():
    llm, tokenizer = tiny(special_rows=True)
    stir(rows_of(llm))
    config, tensors = adapter_config(llm), adapter_tensors(llm)

    other, _ = tiny()
    load_adapter_tensors(other, tokenizer, config, tensors)

    assert config == {"special_rows": True, "lora": None}
    assert set(tensors) == {"special_rows.delta"}
    assert torch.equal(other(prompt(tokenizer)).logits, llm(prompt(tokenizer)).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: {}, "got the tensor special_rows.delta missing"),
        (lambda tensors: tensors | {"special_rows.x": torch.zeros(1)}, "special_rows.x left over"),
        (lambda tensors: {"special_rows.delta": torch.zeros(2, 3)}, r"of shape \(2, 3\) where it has"),
    ],
)
def test_adapters_of_another_llm_are_refused(change, message):
    llm, tokenizer = tiny(special_rows=True)

    with pytest.raises(ValueError, match=message):
        load_adapter_tensors(llm, tokenizer, adapter_config(llm), change(adapter_tensors(llm)))


def test_rows_are_float32_beside_a_bfloat16_llm():
    llm, tokenizer = tiny(special_rows=True, dtype="bfloat16")

    assert rows_of(llm).delta.dtype == torch.float32
    assert llm(prompt(tokenizer)).logits.dtype == torch.bfloat16


def test_generation_sees_the_rows():
    llm, tokenizer = tiny(special_rows=True)
    equip(llm, tokenizer, LLMConfig(source="tiny", special_rows=True))  # once is enough
    stir(rows_of(llm))
    ids = prompt(tokenizer)
    wide = llm.eval()(ids).logits[0, -1].argmax()

    out = llm.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False)

    assert out[0, -1] == wide
