"""What the commands `convert` and `info` stand on."""

import json

import pytest
import torch

import maya_encoder
from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.checkpoint import save
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.interop.convert import convert, describe
from maya_encoder.interop.parakeet_export import save_parakeet
from maya_encoder.tokenizer import Tokenizer


@pytest.fixture
def model(native_models):
    torch.manual_seed(0)
    encoder = FastConformerConfig(num_layers=1, hidden_size=16, num_heads=2, subsampling_channels=4)
    heads = {"ctc": CTCConfig(), "rnnt": RNNTConfig(prediction_size=8, joint_size=8)}
    config = AcousticModelConfig(encoder=encoder, heads=heads, langs=("hi",), frontend={"num_mels": 16})
    return AcousticModel(config, Tokenizer(native_models[:1])).eval()


@pytest.fixture
def folder(model, tmp_path):
    save(model, tmp_path / "maya")
    return tmp_path / "maya"


def test_there_and_back_through_hugging_face(model, folder, tmp_path):
    said = convert(folder, tmp_path / "hf", "hf")
    assert said.startswith(
        f"wrote {tmp_path / 'hf'} for transformers: encoder and ctc head, without the head rnnt"
    )
    back = convert(tmp_path / "hf", tmp_path / "again", "maya")
    assert back.startswith(f"wrote {tmp_path / 'again'}: a Maya folder with encoder and ctc")
    found = maya_encoder.load(tmp_path / "again")
    assert list(found.heads) == ["ctc"]
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_named_head_is_written(folder, tmp_path):
    convert(folder, tmp_path / "hf", "parakeet", head="rnnt")
    assert json.loads((tmp_path / "hf/config.json").read_text())["model_type"] == "parakeet_rnnt"


def test_name_of_the_target_says_onnx(folder, tmp_path):
    pytest.importorskip("onnxruntime")
    said = convert(folder, tmp_path / "model.onnx")
    assert "encoder and ctc head in ONNX, opset 17, within" in said
    assert (tmp_path / "model.onnx").is_file()


def test_notes_of_the_source_are_passed_on(model, tmp_path):
    save_parakeet(model, tmp_path / "hf")
    (tmp_path / "hf/tokenizer.json").unlink()
    said = convert(tmp_path / "hf", tmp_path / "maya").splitlines()
    assert len(said) == 2
    assert said[1].startswith("note: ")
    assert "no tokenizer.json" in said[1]


@pytest.mark.parametrize(
    ("to", "message"),
    [("nemo", "`to` must be one of maya, parakeet, onnx, onnx-asr, got 'nemo'"), (None, "another path than")],
)
def test_impossible_wishes_are_named(folder, to, message):
    with pytest.raises(ValueError, match=message):
        convert(folder, folder, to)


def test_maya_folder_is_described_without_its_weights(model, folder):
    found = describe(folder)
    assert found["kind"] == "maya"
    assert found["langs"] == ["hi"]
    assert found["encoder"]["num_layers"] == 1
    assert set(found["heads"]) == {"ctc", "rnnt"}
    assert found["parameters"]["all"] == sum(tensor.numel() for tensor in model.state_dict().values())
    assert found["tokenizer"]["pieces"] == model.tokenizer.vocab_size
    json.dumps(found, default=str)


def test_foreign_folder_is_described_alike(model, folder, tmp_path):
    save_parakeet(model, tmp_path / "hf")
    ours, theirs = describe(folder), describe(tmp_path / "hf")
    assert theirs["kind"] == "parakeet"
    assert theirs["encoder"] == ours["encoder"]
    assert theirs["frontend"]["num_mels"] == 16
    assert theirs["parameters"]["encoder"] == ours["parameters"]["encoder"]
    assert set(theirs["heads"]) == {"ctc"}


def test_unknown_path_is_named(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        describe(tmp_path / "nothing")
