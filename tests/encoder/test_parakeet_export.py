"""What we write, transformers opens with its own classes, and gives the same numbers and the same text."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import sentencepiece
import torch

import maya_encoder
from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig
from maya_encoder.interop.parakeet_export import save_parakeet
from maya_encoder.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")

SENTENCES = ["hello world", "नमस्ते दुनिया", "ನಮಸ್ಕಾರ ಜಗತ್ತು"]


@pytest.fixture(scope="session")
def bpe():
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 10),
        model_writer=written,
        model_type="bpe",
        vocab_size=50,
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return written.getvalue()


def transducer(kind):
    sizes = {"prediction_size": 12, "joint_size": 12, "num_layers": 2, "max_symbols": 3}
    if kind == "rnnt":
        return RNNTConfig(**sizes, activation="tanh")
    return TDTConfig(**sizes, durations=(0, 1, 2))


def make_model(tokenizer, heads=("ctc",), encoder=None, **settings):
    torch.manual_seed(0)
    sizes = {
        "num_layers": 2,
        "hidden_size": 16,
        "num_heads": 2,
        "subsampling_channels": 4,
        "ff_expansion": 2,
        "use_bias": True,
        "conv_kernel": 5,
    }
    configs = {name: CTCConfig() if name == "ctc" else transducer(name) for name in heads}
    config = AcousticModelConfig(
        encoder=FastConformerConfig(**{**sizes, **(encoder or {})}),
        heads=configs,
        langs=("en", "hi", "kn"),
        **{"frontend": {"num_mels": 16}, **settings},
    )
    model = AcousticModel(config, tokenizer).eval()
    for name, tensor in model.state_dict().items():
        if "running" in name or "norm" in name:
            tensor.copy_(torch.rand_like(tensor.float()) + 0.5)
        elif not name.endswith("embed.weight"):
            tensor.copy_(0.4 * torch.randn_like(tensor))
    if "tdt" in heads:  # transformers' search has no limit of labels a frame
        model.heads["tdt"].joint.joint_net[2].bias.data[tokenizer.vocab_size + 1] = -50.0
    return model


@pytest.fixture
def tokenizer(bpe):
    return Tokenizer({"bpe": bpe})


def waveforms():
    generator = np.random.default_rng(0)
    return [generator.normal(0, 0.1, n).astype(np.float32) for n in (16000, 11000)]


def processed(folder):
    processor = transformers.AutoProcessor.from_pretrained(folder)
    return processor, processor(waveforms(), sampling_rate=16000)


def test_auto_model_for_ctc_gives_the_same_log_probs_and_text(tokenizer, tmp_path):
    model = make_model(tokenizer)
    said = save_parakeet(model, tmp_path / "out")
    assert "ctc head" in said
    theirs = transformers.AutoModelForCTC.from_pretrained(tmp_path / "out").eval()
    processor, inputs = processed(tmp_path / "out")
    batch = torch.zeros(2, 16000)
    for row, audio in zip(batch, waveforms(), strict=True):
        row[: len(audio)] = torch.from_numpy(audio)
    with torch.inference_mode():
        expected = theirs(**inputs).logits.log_softmax(-1)
        encoded = model.encoder(*model.frontend(batch, torch.tensor([16000, 11000])))
        found = model.heads["ctc"](encoded[0])
    for row, other, length in zip(found, expected, encoded[1].tolist(), strict=True):
        torch.testing.assert_close(row[:length], other[:length], atol=1e-4, rtol=1e-4)
    texts = processor.batch_decode(theirs.generate(**inputs), skip_special_tokens=True)
    assert texts == [hypothesis.text for hypothesis in model.transcribe(waveforms(), sampling_rate=16000)]
    assert any(texts)


@pytest.mark.parametrize(("kind", "auto"), [("rnnt", "AutoModelForRNNT"), ("tdt", "AutoModelForTDT")])
def test_transducers_write_the_same_text(tokenizer, tmp_path, kind, auto):
    model = make_model(tokenizer, heads=(kind,))
    save_parakeet(model, tmp_path / "out")
    theirs = getattr(transformers, auto).from_pretrained(tmp_path / "out").eval()
    processor, _ = processed(tmp_path / "out")
    texts = []
    for audio in waveforms():  # one at a time: in a batch, their search goes on behind an utterance's end
        inputs = processor(audio, sampling_rate=16000)
        ids = theirs.generate(**inputs, max_new_tokens=200).sequences
        texts += [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    assert texts == [hypothesis.text for hypothesis in model.transcribe(waveforms(), sampling_rate=16000)]
    assert any(texts)


@pytest.mark.parametrize("heads", [("ctc",), ("rnnt",), ("tdt",)])
def test_what_was_written_opens_here_with_the_same_tensors(tokenizer, tmp_path, heads):
    model = make_model(tokenizer, heads=heads)
    save_parakeet(model, tmp_path / "out")
    again = maya_encoder.load(tmp_path / "out")
    assert list(again.heads) == list(heads)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    for text in SENTENCES:
        assert again.tokenizer.encode(text) == tokenizer.encode(text)


def test_transformers_finds_no_tensor_missing_or_left_over(tokenizer, tmp_path):
    save_parakeet(make_model(tokenizer), tmp_path / "out")
    _, told = transformers.AutoModelForCTC.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(told.values())


def test_ctc_is_written_of_a_hybrid_model_unless_another_head_is_named(tokenizer, tmp_path):
    model = make_model(tokenizer, heads=("rnnt", "ctc"))
    assert "without the head rnnt" in save_parakeet(model, tmp_path / "a")
    assert "without the head ctc" in save_parakeet(model, tmp_path / "b", head="rnnt")
    assert json.loads((tmp_path / "a/config.json").read_text())["model_type"] == "parakeet_ctc"
    assert json.loads((tmp_path / "b/config.json").read_text())["model_type"] == "parakeet_rnnt"
    with pytest.raises(
        ValueError, match=r"`head` must be one of this model's.* got 'tdt'; the model has: rnnt, ctc"
    ):
        save_parakeet(model, tmp_path / "c", head="tdt")


@pytest.mark.parametrize(
    ("encoder", "settings", "message"),
    [
        ({"conv_norm": "layer_norm"}, {}, "`encoder.conv_norm` is 'layer_norm'"),
        ({"subsampling": "striding"}, {}, "`encoder.subsampling` is 'striding'"),
        ({"lang_embedding": "output"}, {}, "`encoder.lang_embedding` is 'output'"),
        ({"masked_subsampling": False}, {}, "`encoder.masked_subsampling` is False"),
        ({}, {"frontend": {"num_mels": 16, "frontend": "legacy"}}, "`frontend.frontend` is 'legacy'"),
        ({}, {"prompt": {"num_prompts": 4}}, "`prompt` is .*'num_prompts': 4"),
    ],
)
def test_settings_without_a_place_in_parakeet_are_named(tokenizer, tmp_path, encoder, settings, message):
    model = make_model(tokenizer, encoder=encoder, **settings)
    with pytest.raises(ValueError, match=message + ".*, and transformers' Parakeet has no place for that"):
        save_parakeet(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_local_attention_is_named(tokenizer, tmp_path):
    model = make_model(tokenizer)
    model.encoder.set_attention("rel_pos_local_attn", (4, 4))
    with pytest.raises(ValueError, match="rel_pos_local_attn"):
        save_parakeet(model, tmp_path / "out")


def test_multisoftmax_is_named(tokenizer, tmp_path):
    model = make_model(tokenizer)
    model.config = replace(model.config, multisoftmax=True)
    with pytest.raises(ValueError, match="`multisoftmax` is True, and"):
        save_parakeet(model, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": "stateless"}, "`heads.rnnt.prediction` is 'stateless'"),
        ({"joint_size": 8}, r"`heads.rnnt.joint_size, prediction_size` is \(8, 12\)"),
    ],
)
def test_transducers_without_a_place_in_parakeet_are_named(tokenizer, tmp_path, changes, message):
    model = make_model(tokenizer, heads=("rnnt",))
    model.config.heads["rnnt"] = replace(model.config.heads["rnnt"], **changes)
    with pytest.raises(ValueError, match=message):
        save_parakeet(model, tmp_path / "out")


def test_one_tokenizer_model_a_language_is_refused(native_models, tmp_path):
    model = make_model(Tokenizer(native_models))
    with pytest.raises(ValueError, match=r"has 2 SentencePiece models \(hi, bn\)"):
        save_parakeet(model, tmp_path / "out")


def test_common_script_is_written_for_one_language(common_model, tmp_path):
    tokenizer = Tokenizer([common_model], script="common")
    model = make_model(tokenizer)
    with pytest.raises(ValueError, match=r"`script` of the tokenizer is 'common'.* got None"):
        save_parakeet(model, tmp_path / "out")
    save_parakeet(model, tmp_path / "out", lang="bn")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.encode("আমি ভাত খাই", "bn")
    assert theirs("আমি ভাত খাই")["input_ids"] == ids
    assert theirs.decode(ids, group_tokens=False) == tokenizer.decode(ids, "bn") == "আমি ভাত খাই"


def test_a_folder_that_holds_something_is_left_alone(tokenizer, tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(OSError, match="exists and is not an empty folder"):
        save_parakeet(make_model(tokenizer), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
