"""What transformers saved opens here with the same numbers and the same text."""

import json
import shutil

import numpy as np
import pytest
import torch

import maya_encoder
from maya_encoder.interop import read_any
from maya_encoder.interop.imported import build

transformers = pytest.importorskip("transformers")

LETTERS = "\u2581abcdefghiनमसत"
MERGES = [("a", "b"), ("\u2581", "a"), ("\u2581", "ab"), ("\u2581a", "b"), ("c", "d")]
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_mel_bins": 16,
    "subsampling_conv_channels": 4,
}


def make_processor(kind, blank="<blank>"):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["<unk>", *LETTERS, *dict.fromkeys(left + right for left, right in MERGES)]
    bpe = models.BPE({p: i for i, p in enumerate(pieces)}, MERGES, unk_token="<unk>", fuse_unk=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    fast = transformers.ParakeetTokenizer(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token=blank, clean_up_tokenization_spaces=False
    )
    extractor = transformers.ParakeetFeatureExtractor(feature_size=16)
    return transformers.ParakeetProcessor(extractor, fast, blank_token=blank, decoder_type=kind)


def make_model(kind, vocab_size, **encoder):
    encoder_config = {**TINY, **encoder}
    if kind == "ctc":
        config = transformers.ParakeetCTCConfig(
            vocab_size=vocab_size, pad_token_id=vocab_size - 1, encoder_config=encoder_config
        )
    else:
        make = transformers.ParakeetRNNTConfig if kind == "rnnt" else transformers.ParakeetTDTConfig
        config = make(
            vocab_size=vocab_size,
            pad_token_id=vocab_size - 1,
            blank_token_id=vocab_size - 1,
            decoder_hidden_size=8,
            num_decoder_layers=2,
            max_symbols_per_step=3,
            encoder_config=encoder_config,
        )
    classes = {"ctc": "ParakeetForCTC", "rnnt": "ParakeetForRNNT", "tdt": "ParakeetForTDT"}
    return randomize(getattr(transformers, classes[kind])(config).eval())


def randomize(model):
    torch.manual_seed(0)
    for name, tensor in model.state_dict().items():
        if "norm" in name:
            tensor.copy_(torch.rand_like(tensor.float()) + 0.5)
        else:
            tensor.copy_(0.4 * torch.randn_like(tensor.float()))
    if hasattr(model, "decoder"):
        model.generation_config.decoder_start_token_id = model.config.blank_token_id
        durations = getattr(model.config, "durations", ())
        size = model.config.vocab_size
        model.generation_config.suppress_tokens = list(range(size, size + len(durations))) or None
        if durations:  # their search has no limit of labels a frame
            model.joint.head.bias.data[size] = -50.0
        model.joint.head.weight.data.mul_(3)
        model.joint.head.bias.data[[0, size - 1]] = -2.0  # tokens, not blanks and unknown ones alone
    return model


@pytest.fixture
def folder(tmp_path):
    def save(kind, **encoder):
        processor = make_processor(kind)
        model = make_model(kind, len(processor.tokenizer), **encoder)
        model.save_pretrained(tmp_path / kind)
        processor.save_pretrained(tmp_path / kind)
        return tmp_path / kind, model, processor

    return save


def waveforms():
    generator = np.random.default_rng(0)
    return [generator.normal(0, 0.1, n).astype(np.float32) for n in (16000, 11000, 7777)]


def padded(audio):
    lens = torch.tensor([len(a) for a in audio])
    batch = torch.zeros(len(audio), int(lens.max()))
    for row, a in zip(batch, audio, strict=True):
        row[: len(a)] = torch.from_numpy(a)
    return batch, lens


@torch.inference_mode()
def encode(model, audio):
    features, feature_lens = model.frontend(*padded(audio))
    return model.encoder(features, feature_lens)


@pytest.mark.parametrize(
    "encoder", [{}, {"scale_input": False, "attention_bias": False}, {"convolution_bias": False}]
)
def test_ctc_log_probs_are_those_of_transformers(folder, encoder):
    path, theirs, processor = folder("ctc", **encoder)
    model = maya_encoder.load(path)
    inputs = processor(waveforms(), sampling_rate=16000)
    with torch.inference_mode():
        expected = theirs(**inputs).logits.log_softmax(-1)
        encoded = encode(model, waveforms())
        found = model.heads["ctc"](encoded[0])
    for row, other, length in zip(found, expected, encoded[1].tolist(), strict=True):
        torch.testing.assert_close(row[:length], other[:length], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def joint_logits(model, kind, tokens):
    head = model.heads[kind]
    encoded = encode(model, waveforms())
    labels = head.joint.pred(head.prediction(tokens))
    frames = head.joint.enc(encoded[0])
    return head.joint(frames[:, :, None], labels[:, None]), encoded[1].tolist()


@pytest.mark.parametrize("kind", ["rnnt", "tdt"])
def test_transducer_logits_are_those_of_transformers(folder, kind):
    path, theirs, processor = folder(kind)
    model = maya_encoder.load(path)
    inputs = processor(waveforms(), sampling_rate=16000)
    tokens = torch.randint(1, theirs.config.vocab_size - 1, (3, 4))
    started = torch.cat([torch.full((3, 1), theirs.config.blank_token_id), tokens], dim=1)
    with torch.inference_mode():
        expected = theirs(**inputs, decoder_input_ids=started).logits
    found, lens = joint_logits(model, kind, tokens)
    assert found.shape[-1] == expected.shape[-1]
    for row, other, length in zip(found, expected, lens, strict=True):
        torch.testing.assert_close(row[:length], other[:length], atol=1e-4, rtol=1e-4)


def generate(theirs, inputs):
    if not hasattr(theirs, "decoder"):
        return theirs.generate(**inputs)
    return theirs.generate(**inputs, max_new_tokens=300).sequences


@pytest.mark.parametrize("kind", ["ctc", "rnnt", "tdt"])
def test_text_is_that_of_transformers(folder, kind):
    path, theirs, processor = folder(kind)
    expected = []
    for audio in waveforms():  # one at a time: in a batch, their search goes on behind an utterance's end
        ids = generate(theirs, processor(audio, sampling_rate=16000))
        expected += [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    found = maya_encoder.load(path).transcribe(waveforms(), sampling_rate=16000)
    assert [hypothesis.text for hypothesis in found] == expected
    assert any(expected)


def test_blank_in_the_middle_moves_to_the_end(folder):
    path, theirs, processor = folder("ctc")
    inputs = processor(waveforms()[0], sampling_rate=16000)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "pad_token_id": 5}))
    imported = read_any(path)
    model = build(imported, path)
    order = [*(i for i in range(theirs.config.vocab_size) if i != 5), 5]
    with torch.inference_mode():
        expected = theirs(**inputs).logits.log_softmax(-1)[..., order]
        found = model.heads["ctc"](encode(model, waveforms()[:1])[0])
    torch.testing.assert_close(found, expected[:, : found.shape[1]], atol=1e-4, rtol=1e-4)
    assert any("the blank was id 5" in note for note in imported.notes)
    assert model.tokenizer.piece(5) == processor.tokenizer.convert_ids_to_tokens(6)


def test_shards_are_put_together(folder, tmp_path):
    path, theirs, processor = folder("ctc")
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="4KB")
    processor.save_pretrained(tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 1
    whole, parts = maya_encoder.load(path), maya_encoder.load(tmp_path / "sharded")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name


def test_shard_outside_of_the_folder_is_refused(folder):
    path, *_ = folder("ctc")
    (path / "model.safetensors").unlink()
    places = {"weight_map": {"a": "../secret.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(places))
    with pytest.raises(ValueError, match=r"is refused: it points at '\.\./secret\.safetensors'"):
        read_any(path)


def test_folder_without_a_tokenizer_writes_ids_and_says_so(folder):
    path, *_ = folder("ctc")
    (path / "tokenizer.json").unlink()
    imported = read_any(path)
    assert any("no tokenizer.json" in note for note in imported.notes)
    assert build(imported, path).tokenizer.decode([3, 7]) == "<3><7>"


def test_encoder_of_canary_is_read_alone(tmp_path):
    config = transformers.CanaryConfig(
        vocab_size=20,
        encoder_config={"model_type": "parakeet_encoder", **TINY},
        decoder_config={
            "vocab_size": 20,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
        },
    )
    transformers.CanaryForConditionalGeneration(config).save_pretrained(tmp_path / "canary")
    imported = read_any(tmp_path / "canary")
    assert imported.tokenizer is None
    assert {name.split(".")[0] for name in imported.tensors} == {"encoder"}
    with pytest.raises(ValueError, match="holds an encoder and no head"):
        build(imported, tmp_path / "canary")


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        ("config.json", "hidden_act", "gelu", "`hidden_act` is 'gelu', and only 'silu' can be built"),
        ("config.json", "subsampling_conv_stride", 3, "`subsampling_conv_stride` is 3, and only 2"),
        ("config.json", "intermediate_size", 40, "`intermediate_size` must be a multiple of 16"),
        ("config.json", "subsampling_factor", 6, "`num_mel_bins` must be a multiple of 6"),
        ("processor_config.json", "preemphasis", 0.9, r"`preemphasis` of the feature extractor is 0\.9"),
        ("processor_config.json", "n_fft", 400, "`n_fft` of the feature extractor is 400, and only 512"),
        ("processor_config.json", "feature_size", 80, "makes 80 mel bins, the encoder takes 16"),
    ],
)
def test_settings_that_cannot_be_built_are_named(folder, file, key, value, message):
    path, *_ = folder("ctc")
    contents = json.loads((path / file).read_text())
    inner = contents["encoder_config" if file == "config.json" else "feature_extractor"]
    inner[key] = value
    (path / file).write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=message):
        read_any(path)


def test_other_models_are_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(ValueError, match="`model_type` is 'whisper', which has no FastConformer encoder"):
        read_any(tmp_path)


def test_missing_weights_are_named(folder):
    path, *_ = folder("ctc")
    (path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no model\.safetensors and no model\.safetensors\.index\.json"):
        read_any(path)


def test_weights_of_another_size_are_named(folder, tmp_path):
    path, *_ = folder("ctc")
    shutil.copytree(path, tmp_path / "copy")
    config = json.loads((path / "config.json").read_text())
    config["encoder_config"]["num_hidden_layers"] = 3
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"another recipe.*encoder\.layers\.2\."):
        maya_encoder.load(path)
