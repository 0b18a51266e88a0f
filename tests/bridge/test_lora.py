import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from maya_bridge.adapters import adapter_config, adapter_tensors, load_adapter_tensors, trainable_part
from maya_bridge.llm import LLMConfig, load_folder, load_llm, save_llm
from maya_bridge.lora import add_lora, has_lora, lora_layers
from maya_bridge.special_rows import rows_of

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
IDS = torch.tensor([[2, 20, 21, 22]])


def tiny(**fields):
    torch.manual_seed(0)
    return load_llm(LLMConfig(source="tiny", hidden_size=16, num_heads=2, **fields), "abcdefghij ")


@pytest.fixture
def with_lora():
    pytest.importorskip("peft")
    llm, tokenizer = tiny(lora_rank=2, lora_alpha=8.0)
    stir(llm)
    return llm.eval(), tokenizer


def stir(llm):
    with torch.no_grad():
        for _, layer in lora_layers(llm):
            layer.lora_B["default"].weight.normal_()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora_rank": 0}, "`lora_rank` must be 1 or more, got 0"),
        ({"lora_dropout": 1.0}, "`lora_dropout` must be at least 0 and below 1, got 1.0"),
        ({"lora_alpha": 0.0}, "`lora_alpha` must be above 0, got 0.0"),
    ],
)
def test_bad_settings_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        LLMConfig(**fields)


def test_missing_peft_is_answered_with_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(ValueError, match=r"LoRA needs peft, .*: pip install 'maya-bridge\[lora\]'"):
        tiny(lora_rank=2)


def test_all_linear_layers_but_the_output_layer(with_lora):
    names = {name.rpartition(".")[2] for name, _ in lora_layers(with_lora[0])}

    assert names == LINEAR
    assert len(list(lora_layers(with_lora[0]))) == 2 * len(LINEAR)


def test_chosen_layers_alone():
    pytest.importorskip("peft")
    llm, _ = tiny(lora_rank=2, lora_targets=["q_proj", "v_proj"])

    assert {name.rpartition(".")[2] for name, _ in lora_layers(llm)} == {"q_proj", "v_proj"}


def test_layers_that_are_not_there_are_named():
    pytest.importorskip("peft")
    with pytest.raises(
        ValueError, match=r"`lora_targets` must name linear layers \(.*q_proj.*\), got c_attn"
    ):
        tiny(lora_rank=2, lora_targets=["c_attn"])


def test_lora_is_put_in_once(with_lora):
    with pytest.raises(ValueError, match="an LLM takes LoRA once, got a Gemma3ForCausalLM that has it"):
        add_lora(with_lora[0], 4)


def test_fresh_lora_changes_nothing():
    pytest.importorskip("peft")
    plain, fresh = tiny()[0].eval(), tiny(lora_rank=2)[0].eval()

    assert not has_lora(plain)
    assert torch.equal(fresh(IDS).logits, plain(IDS).logits)


def test_only_lora_and_special_rows_train():
    pytest.importorskip("peft")
    llm, _ = tiny(lora_rank=2, special_rows=True)
    llm.requires_grad_(False)
    trainable_part(llm).requires_grad_(True)
    stir(llm)
    before = {name: value.clone() for name, value in llm.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in llm.parameters() if p.requires_grad], lr=0.1)

    llm(IDS).logits.square().sum().backward()
    optimizer.step()

    changed = {name for name, value in llm.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == set(adapter_tensors(llm))
    assert len(changed) == 2 * 2 * len(LINEAR) + 1


def test_folded_folder_is_a_plain_one_with_the_same_logits(tmp_path, with_lora):
    llm, tokenizer = with_lora
    save_llm(llm, tmp_path)
    tokenizer.save(tmp_path)

    again, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)

    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(again.eval()(IDS).logits, llm(IDS).logits, rtol=1e-4, atol=1e-4)
    assert not list(tmp_path.glob("adapter*"))
    assert has_lora(load_folder(tmp_path, LLMConfig(path=str(tmp_path), lora_rank=3))[0])


def test_lora_survives_as_adapters(with_lora):
    llm, tokenizer = with_lora
    config, tensors = adapter_config(llm), adapter_tensors(llm)

    other, _ = tiny()
    load_adapter_tensors(other, tokenizer, config, tensors)

    assert config["lora"] == {"rank": 2, "alpha": 8.0, "dropout": 0.0, "targets": sorted(LINEAR)}
    assert torch.equal(other.eval()(IDS).logits, llm(IDS).logits)


def test_lora_of_another_rank_is_refused(with_lora):
    llm, tokenizer = with_lora
    other, _ = tiny(lora_rank=4)

    with pytest.raises(
        ValueError, match=r"adapters must fit the LLM, got .*lora_.* of shape .* where it has"
    ):
        load_adapter_tensors(other, tokenizer, adapter_config(llm), adapter_tensors(llm))


def test_lora_is_float32_beside_a_bfloat16_llm():
    pytest.importorskip("peft")
    llm, _ = tiny(lora_rank=2, dtype="bfloat16", special_rows=True)

    assert {p.dtype for p in trainable_part(llm).parameters()} == {torch.float32}
    assert llm(IDS).logits.dtype == torch.bfloat16


def test_rows_train_beside_lora_and_fold_together(tmp_path):
    pytest.importorskip("peft")
    llm, tokenizer = tiny(lora_rank=2, special_rows=True)
    stir(llm)
    with torch.no_grad():
        rows_of(llm).delta.normal_()
    ids = torch.tensor([[2, tokenizer.special_id("<|audio|>"), 20, tokenizer.lang_id("ta")]])
    save_llm(llm, tmp_path)

    again = AutoModelForCausalLM.from_pretrained(tmp_path)

    torch.testing.assert_close(again(ids).logits, llm(ids).logits, rtol=1e-4, atol=1e-4)
