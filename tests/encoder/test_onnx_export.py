"""What onnxruntime computes from an exported file is what the model computes."""

import json

import numpy as np
import pytest
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.interop import onnx_export
from maya_encoder.interop.onnx_export import CHECKED_LENS, MissingExtra, PlainEncoder, export_onnx
from maya_encoder.tokenizer import Tokenizer

SETTINGS = [
    {},
    {"use_bias": True, "xscaling": True},
    {"subsampling": "striding", "subsampling_factor": 4, "conv_norm": "layer_norm"},
    {"attention": "rel_pos_local_attn", "attention_context": (3, 2)},
    {"attention_context": (4, 1), "context_style": "chunked_limited"},
    {"lang_embedding": "input"},
    {"lang_embedding": "output", "untie_biases": False},
]


def make_model(tokenizer, heads=None, extras=None, **encoder):
    torch.manual_seed(0)
    sizes = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "subsampling_channels": 4}
    config = AcousticModelConfig(
        encoder=FastConformerConfig(**{**sizes, **encoder}),
        heads=heads or {"ctc": CTCConfig()},
        **{"langs": ("hi", "bn", "en"), "frontend": {"num_mels": 16}, **(extras or {})},
    )
    model = AcousticModel(config, tokenizer).eval()
    for name, tensor in model.state_dict().items():
        if "running" in name or "norm" in name:
            tensor.copy_(torch.rand_like(tensor.float()) + 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(0.4 * torch.randn_like(tensor))
    return model


def batch(lens, num_mels=16):
    return torch.randn(len(lens), max(lens), num_mels), torch.tensor(lens)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@torch.inference_mode()
def test_plain_operations_give_the_encoders_own_frames(tokenizer, settings):
    encoder = make_model(tokenizer, **settings).encoder
    langs = torch.tensor([0, 1, 2]) if "lang_embedding" in settings else None
    features, lens = batch((83, 50, 1))
    found, found_lens = PlainEncoder(encoder)(features, lens, langs)
    expected, expected_lens = encoder(features, lens, langs)
    assert torch.equal(found_lens, expected_lens)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", [SETTINGS[1], SETTINGS[2], SETTINGS[3]], ids=str)
def test_file_gives_the_models_log_probs(tokenizer, tmp_path, settings):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = make_model(tokenizer, **settings)
    assert export_onnx(model, tmp_path / "out") < 1e-4
    session = runtime.InferenceSession(tmp_path / "out/model.onnx")
    for lens in ((120,), (33, 90, 7, 64), (8, 8), (1,)):
        features, feature_lens = batch(lens)
        given = {"features": features.numpy(), "feature_lens": feature_lens.numpy()}
        found, found_lens = session.run(["log_probs", "encoder_out_lens"], given)
        with torch.inference_mode():
            encoded = model.encoder(features, feature_lens)
            expected = model.heads["ctc"](encoded.encoder_out)
        assert found_lens.tolist() == encoded.encoder_out_lens.tolist()
        for row, other, length in zip(found, expected.numpy(), found_lens, strict=True):
            np.testing.assert_allclose(row[:length], other[:length], atol=1e-4, rtol=1e-4)


def test_folder_says_how_to_use_it(tokenizer, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = make_model(tokenizer).train()
    export_onnx(model, tmp_path / "out")
    assert model.training
    assert model.encoder.layers[0].training
    file = onnx.load(tmp_path / "out/model.onnx")
    assert [opset.version for opset in file.opset_import if not opset.domain] == [onnx_export.OPSET]
    told = {row.key: json.loads(row.value) for row in file.metadata_props if row.key.startswith("maya.")}
    assert told["maya.blank_id"] == tokenizer.vocab_size
    assert told["maya.langs"] == ["hi", "bn", "en"]
    assert told["maya.frontend"] == "modern"
    assert Tokenizer.load(tmp_path / "out/tokenizer").sha256 == tokenizer.sha256


@pytest.mark.parametrize("kind", ["embedding", "prompt", "masks"])
def test_language_is_a_third_input_where_the_numbers_depend_on_it(native_models, tmp_path, kind):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    extras = {
        "prompt": {"prompt": {"num_prompts": 4}},
        "masks": {"multisoftmax": True, "langs": ("hi", "bn")},
    }
    encoder = {"lang_embedding": "output"} if kind == "embedding" else {}
    tokenizer = Tokenizer(native_models if kind == "masks" else native_models[:1])
    model = make_model(tokenizer, extras=extras.get(kind), **encoder)
    export_onnx(model, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    features, lens = batch((40, 40))
    given = {"features": features.numpy(), "feature_lens": lens.numpy(), "lang_ids": np.array([1, 0])}
    found = torch.from_numpy(session.run(None, given)[0])
    with torch.inference_mode():
        encoder_out = model.encode_features(features, lens, ["bn", "hi"]).encoder_out
        expected = model.heads["ctc"](encoder_out, torch.tensor([1, 0]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_file_that_is_wrong_is_not_written(tokenizer, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = make_model(tokenizer)
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"model\.onnx differs from the model by .* is the most allowed"):
        export_onnx(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_install_line(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(
        MissingExtra, match=r"ONNX needs the package 'onnx': pip install 'maya-encoder\[onnx\]'"
    ):
        export_onnx(make_model(tokenizer), tmp_path / "out")


def test_model_without_ctc_is_named(tokenizer, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from maya_encoder.heads.rnnt import RNNTConfig

    model = make_model(tokenizer, heads={"rnnt": RNNTConfig(prediction_size=8, joint_size=8)})
    with pytest.raises(ValueError, match="this model's heads are: rnnt"):
        export_onnx(model, tmp_path / "out")


def test_batches_that_files_are_tried_on_have_padding_and_one_frame():
    assert any(1 in lens and max(lens) > 1 for lens in CHECKED_LENS)
