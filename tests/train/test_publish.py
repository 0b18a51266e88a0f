"""An export opens where it is meant to, says what it is, and destroys nothing."""

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import maya_bridge
import maya_encoder
from maya_train import compose
from maya_train.build import build_acoustic, build_speech_llm
from maya_train.cli import main
from maya_train.publish.folder import MANIFEST

LANGS = ("en", "hi", "ta")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def say_nothing(text):
    """Take a line of progress."""


def talkative(model):
    """Make an untrained CTC head write letters, each word of a few."""
    layer = model.heads["ctc"].decoder_layers[0]
    with torch.no_grad():
        layer.weight.mul_(6)
        for i in range(model.tokenizer.vocab_size):
            piece = model.tokenizer.piece(i)
            layer.bias[i] = 0.3 if piece.isalpha() and piece != "<unk>" else -30.0
    return model.eval()


@pytest.fixture
def run(make_config, tmp_path):
    """A run as it was left: two stages, hypotheses of both heads."""
    folder = tmp_path / "my_run"

    def config(task):
        return make_config(
            task,
            stages=["acoustic", "speech_llm"],
            run_dir=str(folder),
            out_dir=str(folder / task),
            recipe="tiny",
        )

    torch.manual_seed(0)
    cfg = config("acoustic")
    talkative(build_acoustic(cfg)).save(folder / "acoustic/model")
    compose.save(cfg, folder / "acoustic/config.yaml")
    (folder / "acoustic/checkpoints").mkdir()
    (folder / "hyps").mkdir()
    for system, wrong in (("ctc", "zz"), ("rnnt", "")):
        rows = [
            {"utt_id": f"{lang}{n}", "lang": lang, "text": "a b", "pred_text": f"a {wrong if n else 'b'}"}
            for lang in LANGS
            for n in range(4)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "hyps" / f"{system}.jsonl").write_text(lines)
    return folder


@pytest.fixture
def llm_run(run, make_config):
    """The same with a stage behind it that has an LLM."""
    cfg = make_config(
        "speech_llm",
        stages=["acoustic", "speech_llm"],
        run_dir=str(run),
        out_dir=str(run / "speech_llm"),
        init_from=str(run / "acoustic/model"),
    )
    maya_bridge.save(
        build_speech_llm(cfg, say_nothing), run / "speech_llm/model", {"made_by": {"stage": "x"}}
    )
    compose.save(cfg, run / "speech_llm/config.yaml")
    return run


@pytest.fixture
def audio(tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, 20000).clip(-1, 1)
    soundfile.write(tmp_path / "audio.wav", samples, 16000, subtype="PCM_16")
    return tmp_path / "audio.wav"


def export(*arguments):
    assert main(["export", *map(str, arguments)]) == 0


def refused(capsys, *arguments):
    assert main(["export", *map(str, arguments)]) == 2
    sentence = capsys.readouterr().err.strip()
    assert "\n" not in sentence
    return sentence


def card(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def as_the_card_says(folder, audio, monkeypatch):
    """What the lines of Python on the card print, run in the folder itself."""
    (code,) = re.findall(r"```python\n(.*?)```", card(folder), re.DOTALL)
    (folder / "audio.wav").write_bytes(audio.read_bytes())
    monkeypatch.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    return shown.getvalue().rstrip("\n").splitlines()[-1]


def test_auto_model_opens_an_export_with_equal_logits(run, audio, monkeypatch):
    transformers = pytest.importorskip("transformers")
    export(run, "--to", "hf", "--lang", "ta")
    folder = run / "export/hf-ta"
    theirs = transformers.AutoModelForCTC.from_pretrained(folder).eval()
    ours = maya_encoder.load(run / "acoustic/model")
    samples, rate = soundfile.read(audio, dtype="float32")
    inputs = transformers.AutoProcessor.from_pretrained(folder)(samples, sampling_rate=rate)
    waveforms, lens = torch.from_numpy(samples)[None], torch.tensor([len(samples)])
    with torch.inference_mode():
        found = theirs(**inputs).logits.log_softmax(-1)
        encoded = ours.encode(waveforms, lens, ["ta"])
        expected = ours.heads["ctc"](encoded.encoder_out)
    torch.testing.assert_close(found[:, : expected.shape[1]], expected, atol=1e-3, rtol=1e-3)
    text = as_the_card_says(folder, audio, monkeypatch)
    assert text == ours.transcribe(audio, lang="ta", head="ctc")[0].text
    assert any("\u0b80" <= letter < "\u0c00" for letter in text)


def test_onnx_asr_opens_an_export_and_writes_our_text(run, audio, monkeypatch):
    pytest.importorskip("onnx_asr")
    export(run, "--to", "onnx", "--lang", "hi")
    text = as_the_card_says(run / "export/onnx-hi", audio, monkeypatch)
    expected = maya_encoder.load(run / "acoustic/model").transcribe(audio, lang="hi", head="ctc")[0].text
    assert text == expected
    assert text


def test_onnx_of_all_languages_opens_in_onnxruntime(run, audio, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    export(run, "--to", "onnx")
    assert "--lang" in capsys.readouterr().out
    text = as_the_card_says(run / "export/onnx", audio, monkeypatch)
    assert text == maya_encoder.load(run / "acoustic/model").transcribe(audio, lang="hi", head="ctc")[0].text


def test_safetensors_hold_the_model_and_nothing_of_the_run(run, audio, monkeypatch):
    export(run / "acoustic", "--to", "safetensors")
    folder = run / "export/safetensors"
    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "model.safetensors", "tokenizer", "README.md", MANIFEST)
    }
    before, after = maya_encoder.load(run / "acoustic/model"), maya_encoder.load(folder)
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])
    assert as_the_card_says(folder, audio, monkeypatch) == before.transcribe(audio, lang="hi")[0].text


def test_speech_llm_is_exported_whole(llm_run, audio, monkeypatch):
    export(llm_run, "--to", "safetensors")
    folder = llm_run / "export/safetensors"
    assert "made_by" not in (folder / "config.yaml").read_text()
    before, after = maya_bridge.load(llm_run / "speech_llm/model"), maya_bridge.load(folder)
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])
    assert (
        as_the_card_says(folder, audio, monkeypatch)
        == before.transcribe(str(audio), langs="hi")[0].text.strip()
    )
    assert "license: other\nlicense_name: to-be-decided" in card(folder)  # a tiny LLM is nobody else's


def test_acoustic_half_of_a_speech_llm_goes_to_hugging_face(llm_run):
    export(llm_run, "--to", "hf", "--lang", "en", "--license", "mit")
    assert json.loads((llm_run / "export/hf-en/config.json").read_text())["model_type"] == "parakeet_ctc"
    assert "license: mit" in card(llm_run / "export/hf-en")


def test_weights_of_gemma_bring_their_terms(llm_run):
    file = llm_run / "speech_llm/model/llm/config.json"
    assert "gemma" in json.loads(file.read_text())["model_type"]
    from maya_train.publish.licence import licence_of

    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "vocab_size": 262_144}))
    licence = licence_of(llm_run / "speech_llm/model", "mit", with_llm=True)
    assert licence.gemma
    assert licence.front_matter() == {"license": "gemma", "license_link": "https://ai.google.dev/gemma/terms"}
    assert not licence_of(llm_run / "speech_llm/model", "mit", with_llm=False).gemma


def test_card_tells_languages_hours_scores_and_where_to_decide(run, corpus):
    export(run, "--to", "safetensors", "--name", "Tiny", "--test-set", "Our test set")
    text = card(run / "export/safetensors")
    hub = pytest.importorskip("huggingface_hub")
    read = hub.ModelCard(text)
    assert read.data.language == list(LANGS)
    assert read.data.pipeline_tag == "automatic-speech-recognition"
    assert read.data.license == "other"
    found = {(row.dataset_config, row.metric_type): row.metric_value for row in read.data.eval_results}
    assert set(found) == {(lang, metric) for lang in LANGS for metric in ("wer", "cer")}
    assert found["hi", "wer"] == 37.5  # of the transducer, which writes unasked: 3 of 8 words left out
    for system, wer in (("ctc", "37.5"), ("rnnt", "37.5")):
        assert re.search(rf"\*\*{system}\*\*, scored by the profile `indic-strict-v1` version 1", text)
        assert f"| Hindi | 4 | 8 | {wer} | " in text
    index = json.loads((corpus / "index/index.json").read_text())
    hours = sum(float(value) for value in re.findall(r"\| (?:en|hi|ta) \| ([\d.]+) \| 6 \|", text))
    assert hours == pytest.approx(index["hours"], abs=0.02)
    for expected in ("To be decided before this is published", "Less than 10 hours", "over utterances"):
        assert expected in text
    assert "On: Our test set" in text


def test_scores_of_maya_eval_are_taken_as_they_are(run, tmp_path):
    from maya_eval.cli import main as maya_eval

    out = tmp_path / "mine.json"
    assert not maya_eval(
        ["score", str(run / "hyps/ctc.jsonl"), "--profiles", "raw,indic-strict-v1", "--json", str(out)]
    )
    export(run, "--to", "safetensors", "--scores", out)
    text = card(run / "export/safetensors")
    assert "**mine**, scored by the profile `raw`" in text
    assert "**mine**, scored by the profile `indic-strict-v1`" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "rows need lang, profile, utterances, words, wer, cer"),
        ('{"rows": [{"lang": "hi", "wer": 0.1}]}', "'profile' is missing or wrong"),
        ("oops", "Expecting value"),
    ],
)
def test_a_file_that_has_no_scores_is_named(run, tmp_path, capsys, content, message):
    (tmp_path / "bad.json").write_text(content)
    said = refused(capsys, run, "--to", "safetensors", "--scores", tmp_path / "bad.json")
    assert "bad.json" in said
    assert message in said
    assert not (run / "export/safetensors").exists()


def test_an_export_replaces_an_unchanged_one_and_nothing_else(run, capsys):
    out = run / "out"
    export(run, "--to", "safetensors", "--out", out)
    export(run, "--to", "safetensors", "--out", out, "--license", "mit")
    assert "license: mit" in card(out)
    (out / "README.md").write_text("my own words")
    assert "README.md was changed since it was exported" in refused(
        capsys, run, "--to", "safetensors", "--out", out
    )
    export(run, "--to", "safetensors", "--out", run / "other")
    (run / "other/photo.jpg").touch()
    assert "photo.jpg is none of the export's files" in refused(
        capsys, run, "--to", "safetensors", "--out", run / "other"
    )
    assert "no export of ours" in refused(capsys, run, "--to", "safetensors", "--out", run / "hyps")
    assert card(out) == "my own words"
    assert (run / "hyps/ctc.jsonl").is_file()


def test_an_export_that_fails_leaves_nothing(run, monkeypatch):
    from maya_train.publish import export as module

    def full(*arguments):
        raise OSError(28, "No space left on device")

    export(run, "--to", "safetensors")
    before = card(run / "export/safetensors")
    monkeypatch.setattr(module, "describe", full)
    assert main(["export", str(run), "--to", "safetensors"]) == 1
    assert [path.name for path in (run / "export").iterdir()] == ["safetensors"]
    assert card(run / "export/safetensors") == before


def test_what_cannot_be_exported_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half/config.yaml").write_text("stage: encoder\ntask: acoustic\n")
    for arguments, message in (
        ((tmp_path / "nowhere", "--to", "hf"), "nowhere does not exist"),
        ((tmp_path / "half", "--to", "hf"), "a stage that has not finished"),
        ((tmp_path / "empty", "--to", "safetensors"), "empty"),
        ((run, "--to", "tflite"), "--to must be one of hf, onnx, safetensors, got 'tflite'"),
        ((run, "--to", "hf"), "name one language to write with --lang"),
        ((run, "--to", "hf", "--lang", "te"), "--lang must be one of en, hi, ta, got 'te'"),
        ((run, "--to", "hf", "--lang", "hi", "--head", "tdt"), "the model has: ctc, rnnt"),
        ((run, "--to", "safetensors", "--lang", "hi"), "--lang is for hf and onnx"),
        ((run, "--to", "safetensors", "--license", "Do What"), "--license must be an identifier"),
        ((run, "--to", "safetensors", "--index", tmp_path / "no"), "--index"),
    ):
        assert message in refused(capsys, *arguments)
    assert not (run / "export").exists()


def test_a_run_that_was_moved_finds_its_index(run, corpus, tmp_path):
    (run / "index").symlink_to(corpus / "index")
    file = run / "acoustic/config.yaml"
    file.write_text(file.read_text().replace(str(corpus / "index"), str(run / "index")))
    moved = Path(run.rename(tmp_path / "elsewhere"))
    export(moved, "--to", "safetensors")
    assert "hours in all" in card(moved / "export/safetensors")
    export(moved / "acoustic/model", "--to", "safetensors", "--out", tmp_path / "third")
    assert "hours in all" in card(tmp_path / "third")
