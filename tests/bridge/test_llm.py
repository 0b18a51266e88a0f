import json
from pathlib import Path

import pytest
import torch
import yaml
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, GPT2Config, GPT2LMHeadModel

from maya_bridge import gguf
from maya_bridge.llm import LLMConfig, keep_layers, load_llm
from maya_bridge.text_side import LLMTokenizer

TINY = {"source": "tiny", "hidden_size": 16, "num_heads": 2}


@pytest.fixture
def folder(tmp_path):
    llm, tokenizer = load_llm(LLMConfig(**TINY, num_layers=3), "abc ")
    llm.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": "float16"}, "`dtype` must be float32 or bfloat16 .*, got float16"),
        ({"source": "onnx"}, "`source` must be folder, gguf or tiny, got onnx"),
        ({"num_layers": 0}, "`num_layers` must be 1 or more, got 0"),
        ({"loss_impl": "fast"}, "`loss_impl` must be one of auto, torch, chunked, liger, got fast"),
        ({"gguf_file": "a.gguf"}, "`gguf_file` needs source gguf, got folder"),
        ({"source": "tiny", "num_kv_heads": 3}, "`num_kv_heads` must divide 4 heads, got 3"),
        ({"source": "tiny", "hidden_size": 36}, "`hidden_size` must be an even multiple of 4 heads, got 36"),
    ],
)
def test_bad_config_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        LLMConfig(**fields)


def test_folder_without_path_is_named():
    with pytest.raises(ValueError, match="`path` must be given for an LLM with source folder, got None"):
        load_llm(LLMConfig())


def test_a_hub_id_is_fetched_only_where_the_user_allows_it(monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"google/gemma-3-1b-pt must be a folder .* set hub=true"):
        load_llm(LLMConfig(path="google/gemma-3-1b-pt"))

    asked = []

    def fetch(name, **arguments):
        asked.append((name, arguments["local_files_only"]))
        raise OSError("offline")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fetch)
    with pytest.raises(ValueError, match=r"google/gemma-3-1b-pt must hold an LLM .*, got: offline"):
        load_llm(LLMConfig(path="google/gemma-3-1b-pt", hub=True))
    assert asked == [("google/gemma-3-1b-pt", False)]


def test_missing_gguf_file_is_named(tmp_path):
    config = LLMConfig(source="gguf", path=str(tmp_path / "new"), gguf_file=str(tmp_path / "a.gguf"))
    with pytest.raises(
        FileNotFoundError, match=r"`gguf_file` must be a .gguf file, got .*a.gguf, which does"
    ):
        load_llm(config)


def test_converting_beside_a_faster_process_is_no_error(folder, tmp_path):
    (tmp_path / "made").mkdir()

    gguf._move(tmp_path / "made", folder)

    assert load_llm(LLMConfig(path=str(folder)))[0].config.hidden_size == 16


def test_layers_of_an_llm_that_names_them_otherwise_cannot_be_dropped():
    llm = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=4, n_layer=2, n_head=1))
    with pytest.raises(ValueError, match="`num_layers` must be null for GPT2LMHeadModel, got 1"):
        keep_layers(llm, 1)


def test_tiny_llm_needs_an_alphabet():
    with pytest.raises(ValueError, match="`characters` must name the alphabet"):
        load_llm(LLMConfig(**TINY))


def test_weights_of_another_class_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(ValueError, match="must fit GemmaForCausalLM, got unexpected keys like"):
        load_llm(LLMConfig(path=str(folder)))


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])


def other_width(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))


def unknown_type(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gemma99"}))


def cut_tokenizer(folder):
    (folder / "tokenizer.json").write_text('{"version"')


def no_config(folder):
    (folder / "config.json").unlink()
    (folder / "llm").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_weights, "must hold an LLM that transformers can open, got: "),
        (other_width, "must fit Gemma3ForCausalLM, got mismatched keys like"),
        (unknown_type, "must hold an LLM that transformers can open, got: .*gemma99"),
        (cut_tokenizer, "must hold a tokenizer that transformers can open, got: "),
        (no_config, "must hold an LLM that transformers can open, got: .*; there is one in .*llm$"),
    ],
)
def test_a_folder_that_cannot_be_opened_is_one_sentence(folder, damage, message, capfd):
    damage(folder)

    with pytest.raises(ValueError, match=message) as told:
        load_llm(LLMConfig(path=str(folder)))

    assert str(told.value).startswith(str(folder)) or "weights in" in str(told.value)
    assert "\n" not in str(told.value)
    assert capfd.readouterr().err == ""


def test_a_model_of_several_parts_is_refused(tmp_path):
    text = {"hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    sizes = {"num_hidden_layers": 1, "intermediate_size": 16, "vocab_size": 300}
    eyes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = Gemma3Config(text_config={**text, **sizes}, vision_config=eyes, image_token_index=299)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)

    with pytest.raises(ValueError, match="hold a language model alone, got Gemma3ForConditionalGen"):
        load_llm(LLMConfig(path=str(tmp_path)))


def test_first_layers_alone(folder):
    llm, _ = load_llm(LLMConfig(path=str(folder), num_layers=2))

    assert len(llm.model.layers) == llm.config.num_hidden_layers == len(llm.config.layer_types) == 2
    assert llm(torch.tensor([[3, 4]])).logits.isfinite().all()


def test_more_layers_than_there_are_is_an_error(folder):
    with pytest.raises(ValueError, match="`num_layers` must be at most 3, got 4"):
        load_llm(LLMConfig(path=str(folder), num_layers=4))


def test_dtype_is_that_of_the_config(folder):
    assert load_llm(LLMConfig(path=str(folder), dtype="bfloat16"))[0].dtype == torch.bfloat16


def test_converted_gguf_folder_is_read_without_its_package(folder, monkeypatch):
    monkeypatch.setattr(gguf, "PACKAGE", "no_such_package")

    assert load_llm(LLMConfig(source="gguf", path=str(folder)))[0].config.hidden_size == 16


def test_missing_gguf_package_is_answered_with_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "PACKAGE", "no_such_package")
    monkeypatch.setattr(gguf, "HELPERS", ())

    with pytest.raises(ValueError, match=r"needs no_such_package, .*: pip install 'maya-bridge\[gguf\]'"):
        load_llm(LLMConfig(source="gguf", path=str(tmp_path / "gemma")))


@pytest.mark.parametrize("name", ["gemma3_1b", "gemma3_270m", "gemma2_2b", "tiny"])
def test_each_llm_has_a_config_that_is_read(name):
    file = Path(__file__).parents[2] / "configs" / "llm" / f"{name}.yaml"

    config = LLMConfig(**yaml.safe_load(file.read_text()))

    assert config.path
    assert config.dtype != "float16"
    assert config.hub == (name in ("gemma3_1b", "gemma2_2b"))
    assert config.special_rows == name.startswith("gemma")


def test_a_tokenizer_of_more_tokens_than_the_llm_has_is_refused():
    _, tokenizer = load_llm(LLMConfig(**TINY), "abc ")

    with pytest.raises(ValueError, match=r"must be the LLM's own, got special id \d+ of 3 rows"):
        LLMTokenizer(tokenizer.hf, "native", 3)
