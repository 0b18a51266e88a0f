"""What we write, the real `onnx-asr` opens by itself, and it writes the text that we write."""

import json
import unicodedata

import numpy as np
import pytest
import soundfile
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.interop.convert import convert
from maya_encoder.interop.onnx_asr import KIND, save_onnx_asr
from maya_encoder.tokenizer import Tokenizer

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
onnx_asr = pytest.importorskip("onnx_asr")

KINDS = {
    "plain": {},
    "embedding": {"lang_embedding": "input"},
    "late": {"lang_embedding": "output", "subsampling_factor": 8},
    "conformer": {"subsampling": "striding", "conv_norm": "layer_norm", "lang_embedding": "input"},
}


def made(tokenizer, num_mels=80, heads=None, settings=None, **encoder):
    torch.manual_seed(3)
    sizes = {"num_layers": 1, "hidden_size": 16, "num_heads": 2, "subsampling_channels": 4}
    config = AcousticModelConfig(
        langs=("hi", "bn"),
        encoder=FastConformerConfig(**{**sizes, "subsampling_factor": 4, **encoder}),
        heads=heads or {"ctc": CTCConfig()},
        frontend={"num_mels": num_mels, **(settings or {})},
    )
    model = AcousticModel(config, tokenizer).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim > 1 and "norm" not in name:
                tensor.copy_(0.5 * torch.randn_like(tensor))
    return without_marks(model)


def without_marks(model):
    """No word begins with a vowel sign, as in real text: onnx-asr drops a space before one."""
    for i in range(model.tokenizer.vocab_size):
        if unicodedata.category(model.tokenizer.piece(i)[-1]).startswith("M") and "ctc" in model.heads:
            model.heads["ctc"].decoder_layers[0].bias.data[i] -= 50
    return model


@pytest.fixture
def folder_of_wavs(tmp_path):
    generator = np.random.default_rng(0)
    folder = tmp_path / "wavs"
    folder.mkdir()
    for name, size in (("a", 16000), ("b", 11111), ("c", 30000)):
        soundfile.write(folder / f"{name}.wav", generator.normal(0, 0.1, size).clip(-1, 1), 16000)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_asr_writes_the_models_own_text(native_models, tmp_path, folder_of_wavs, kind):
    model = made(Tokenizer(native_models[:1]), **KINDS[kind])
    assert save_onnx_asr(model, tmp_path / "out", lang="hi") < 1e-4
    theirs = onnx_asr.load_model(KIND, tmp_path / "out")
    files = sorted(folder_of_wavs.iterdir())
    texts = theirs.recognize([str(file) for file in files])
    # An untrained model may begin with two spaces, of which the package drops one.
    assert [text.strip() for text in texts] == [row.text for row in model.transcribe(files, lang="hi")]
    assert any(texts)
    assert [theirs.recognize(str(file)) for file in files] == texts


def test_common_script_is_written_in_that_of_the_language(tokenizer, tmp_path, folder_of_wavs):
    model = made(tokenizer, num_mels=128, lang_embedding="input")
    files = [str(file) for file in sorted(folder_of_wavs.iterdir())]
    for lang in ("hi", "bn"):
        save_onnx_asr(model, tmp_path / lang, lang=lang)
        texts = onnx_asr.load_model(KIND, tmp_path / lang).recognize(files)
        assert texts == [row.text for row in model.transcribe(files, lang=lang)]
        block = range(0x980, 0xA00) if lang == "bn" else range(0x900, 0x980)
        assert any(ord(letter) in block for letter in "".join(texts))


def test_one_tokenizer_a_language_with_masks(native_models, tmp_path, folder_of_wavs):
    model = made(Tokenizer(native_models))
    config = model.config
    model = AcousticModel(AcousticModelConfig(**{**vars(config), "multisoftmax": True}), model.tokenizer)
    model = without_marks(model.eval())
    files = [str(file) for file in sorted(folder_of_wavs.iterdir())]
    save_onnx_asr(model, tmp_path / "out", lang="bn")
    texts = onnx_asr.load_model(KIND, tmp_path / "out").recognize(files)
    assert texts == [row.text for row in model.transcribe(files, lang="bn")]


def test_batch_and_time_are_free(native_models, tmp_path):
    model = made(Tokenizer(native_models[:1]))
    save_onnx_asr(model, tmp_path / "out")
    session = runtime.InferenceSession(tmp_path / "out/model.onnx")
    assert [each.shape for each in session.get_inputs()] == [["batch", 80, "time"], ["batch"]]
    for lens in ((120,), (33, 90, 7, 64), (1,)):
        features, feature_lens = torch.randn(len(lens), max(lens), 80), torch.tensor(lens)
        given = {"audio_signal": features.transpose(1, 2).numpy(), "length": feature_lens.numpy()}
        found, found_lens = session.run(["logprobs", "encoded_lengths"], given)
        with torch.inference_mode():
            encoded = model.encoder(features, feature_lens)
            expected = model.heads["ctc"](encoded.encoder_out)
        assert found_lens.tolist() == encoded.encoder_out_lens.tolist()
        for row, other, length in zip(found, expected.numpy(), found_lens, strict=True):
            np.testing.assert_allclose(row[:length], other[:length], atol=1e-4, rtol=1e-4)


def test_folder_holds_what_the_package_looks_for(native_models, tmp_path):
    said = convert(saved(made(Tokenizer(native_models[:1])), tmp_path), tmp_path / "out", to="onnx-asr")
    assert "for onnx-asr" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "vocab.txt", "config.json"}
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config == {"model_type": KIND, "features_size": 80, "subsampling_factor": 4}
    lines = (tmp_path / "out/vocab.txt").read_text().splitlines()
    assert lines[0] == " 0"
    assert lines[-1] == f"<blk> {len(lines) - 1}"


def saved(model, folder):
    model.save(folder / "model")
    return folder / "model"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_mels": 64}, "`frontend.num_mels` is 64, and onnx-asr has no place for that"),
        ({"settings": {"sampling_rate": 8000}}, "`frontend.sampling_rate` is 8000"),
        ({"settings": {"normalize": "none"}}, "`frontend.normalize` is 'none'"),
        ({"lang_embedding": "input"}, "name the one to write with lang=, of hi, bn, got None"),
        ({"heads": {"rnnt": RNNTConfig(prediction_size=8, joint_size=8)}}, "this model's heads are: rnnt"),
    ],
)
def test_what_has_no_place_is_named_and_nothing_is_written(native_models, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        save_onnx_asr(made(Tokenizer(native_models[:1]), **settings), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_language_that_the_model_does_not_know_is_named(native_models, tmp_path):
    with pytest.raises(ValueError, match="of hi, bn, got 'ta'"):
        save_onnx_asr(made(Tokenizer(native_models[:1])), tmp_path / "out", lang="ta")
