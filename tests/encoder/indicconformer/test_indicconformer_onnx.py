"""IndicConformer's published files open, and what they do not tell is said."""

import json
import shutil

import pytest
import torch
from torch import nn

import maya_encoder
from maya_encoder.features import LogMel
from maya_encoder.interop import read_any
from maya_encoder.interop.imported import build
from maya_encoder.interop.torchscript import read_torchscript

LANGS = ("as", "kok", "hi")
MELS = 16


def copied(published, tmp_path):
    model, folder = published
    shutil.copytree(folder, tmp_path / "copy")
    return model, tmp_path / "copy"


@torch.no_grad()
def check_same(model, found):
    features, lens = torch.randn(2, 90, MELS), torch.tensor([90, 41])
    expected, expected_lens = model.encoder(features, lens)
    encoder_out, out_lens = found.encoder(features, lens)
    assert out_lens.tolist() == expected_lens.tolist()
    torch.testing.assert_close(encoder_out, expected, atol=2e-5, rtol=1e-4)
    langs = torch.tensor([2, 1])
    log_probs = model.heads["ctc"](expected, langs)
    torch.testing.assert_close(found.heads["ctc"](encoder_out, langs), log_probs, atol=1e-4, rtol=1e-4)
    tokens = torch.tensor([ids[1:4] for ids in map(model.tokenizer.lang_vocab().get, ("hi", "kok"))])
    targets = (tokens, torch.tensor([3, 2]), langs)
    nll = model.heads["rnnt"].loss(expected, expected_lens, *targets)
    torch.testing.assert_close(
        found.heads["rnnt"].loss(encoder_out, out_lens, *targets), nll, atol=1e-3, rtol=1e-4
    )


def test_published_layout_opens_with_the_same_numbers(published):
    model, folder = published
    imported = read_any(folder)
    found = build(imported, folder)
    assert found.langs == LANGS
    assert found.config.encoder.xscaling
    assert found.config.encoder.use_bias
    assert found.frontend.frontend == "legacy"
    check_same(model, found)
    for lang in LANGS:
        for text in (f"{lang} ab", "ab a b", "aba bab", lang):
            assert found.tokenizer.encode(text, lang) == model.tokenizer.encode(text, lang)


def test_exported_files_have_what_the_published_ones_have(published):
    """Or else the test above would prove nothing."""
    import onnx

    graph = onnx.load(published[1] / "assets/encoder.onnx", load_external_data=False).graph
    names = [tensor.name for tensor in graph.initializer]
    assert sum(name.startswith("onnx::MatMul") for name in names) == 2 * 9 + 1
    assert sum(name.startswith("onnx::Conv") for name in names) == 2 * 2
    assert not any("batch_norm" in name for name in names)
    assert len(list((published[1] / "assets").glob("onnx__MatMul_*"))) == 2 * 9 + 1


def test_notes_say_what_the_files_do_not_tell(published):
    notes = " ".join(read_any(published[1]).notes)
    for part in (
        "batch norms are folded",
        "without scores",
        "legacy",
        "whole utterance",
        "no preprocessor.ts",
    ):
        assert part in notes


@pytest.mark.parametrize(
    "settings",
    [
        {"xscaling": False, "use_bias": False},
        {"subsampling": "striding", "subsampling_factor": 4},
    ],
    ids=str,
)
def test_other_sizes_are_read_off_the_weights(publish, settings):
    model, folder = publish(**settings)
    with pytest.warns(UserWarning, match="numbers may differ"):
        found = maya_encoder.load(folder)
    assert found.config.encoder.subsampling == model.config.encoder.subsampling
    assert found.config.encoder.xscaling == model.config.encoder.xscaling
    check_same(model, found)


@pytest.mark.parametrize("biases", [True, False])
def test_weights_without_any_name_are_told_by_their_biases_or_their_order(publish, biases):
    import onnx

    model, folder = publish(use_bias=biases)
    file = folder / "assets/encoder.onnx"
    graph = onnx.load(file)
    for node in graph.graph.node:
        node.name = ""
    onnx.save_model(graph, file)
    imported = read_any(folder)
    assert any("told by the order of the graph" in note for note in imported.notes)
    check_same(model, build(imported, folder))


class FrontEnd(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        own = LogMel(MELS, "legacy")
        self.featurizer = nn.Module()
        self.featurizer.register_buffer("fb", scale * own.filters.t()[None])
        self.featurizer.register_buffer("window", own.window.clone())

    def forward(self, x):
        return x + self.featurizer.fb.sum() + self.featurizer.window.sum()


def test_torchscript_form_opens_too(publish_torchscript):
    model, folder = publish_torchscript(FrontEnd())
    imported = read_any(folder)
    assert not any("folded" in note for note in imported.notes)
    check_same(model, build(imported, folder))


@pytest.mark.filterwarnings("ignore")
def test_filters_of_the_published_front_end_are_compared(published, tmp_path):
    _, folder = copied(published, tmp_path)
    file = folder / "assets/preprocessor.ts"
    torch.jit.save(torch.jit.trace(FrontEnd(), torch.zeros(1)), file)
    assert set(read_torchscript(file)) == {"featurizer.fb", "featurizer.window"}
    assert not any("preprocessor" in note for note in read_any(folder).notes)
    torch.jit.save(torch.jit.trace(FrontEnd(2.0), torch.zeros(1)), file)
    with pytest.raises(ValueError, match=r"preprocessor\.ts has filters \[1, 16, 257\]"):
        read_any(folder)


def test_torchscript_that_wants_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"a": Evil()}, tmp_path / "evil.ts")
    with pytest.raises(ValueError, match=r"is refused: its pickle wants builtins\.print|__builtin__\.print"):
        read_torchscript(tmp_path / "evil.ts")
    (tmp_path / "none.ts").write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"none\.ts is damaged or no TorchScript archive"):
        read_torchscript(tmp_path / "none.ts")


def test_quantised_files_are_named(published, tmp_path):
    import onnx

    _, folder = copied(published, tmp_path)
    file = folder / "assets/ctc_decoder.onnx"
    graph = onnx.load(file)
    graph.graph.node.append(
        onnx.helper.make_node("DynamicQuantizeLinear", ["encoder_output"], ["a", "b", "c"])
    )
    onnx.save_model(graph, file)
    with pytest.raises(ValueError, match=r"ctc_decoder\.onnx is quantised \(DynamicQuantizeLinear\)"):
        read_any(folder)


def test_missing_parts_are_named(published, tmp_path):
    _, folder = copied(published, tmp_path)
    (folder / "assets/joint_post_net_kok.onnx").unlink()
    with pytest.raises(ValueError, match=r"has no joint_post_net_kok\.onnx and no joint_post_net_kok\.ts"):
        read_any(folder)
    next((folder / "assets").glob("onnx__MatMul_*")).unlink()
    with pytest.raises(ValueError, match=r"needs onnx__MatMul_\d+, which is not beside it"):
        read_any(folder)
    (folder / "assets/vocab.json").unlink()
    with pytest.raises(ValueError, match=r"has ONNX files but no vocab\.json"):
        read_any(folder)


def test_masks_that_do_not_fit_the_vocabulary_are_named(published, tmp_path):
    _, folder = copied(published, tmp_path)
    file = folder / "assets/language_masks.json"
    masks = json.loads(file.read_text())
    file.write_text(json.dumps({**masks, "kok": masks["as"]}))
    with pytest.raises(ValueError, match=r"language_masks\.json of '(as|kok)' must be one block of rows"):
        read_any(folder)
    file.write_text(json.dumps({lang: mask for lang, mask in masks.items() if lang != "hi"}))
    with pytest.raises(ValueError, match="must name the same languages, got 'hi' in one"):
        read_any(folder)


def test_tensor_outside_of_the_folder_is_refused(published, tmp_path):
    import onnx

    _, folder = copied(published, tmp_path)
    file = folder / "assets/encoder.onnx"
    graph = onnx.load(file, load_external_data=False)
    tensor = next(each for each in graph.graph.initializer if each.external_data)
    tensor.external_data[0].value = "../../secret"
    file.write_bytes(graph.SerializeToString())
    with pytest.raises(ValueError, match=r"is refused: its tensor .* is kept in '\.\./\.\./secret'"):
        read_any(folder)
