"""`maya-serve` as a person starts it, with a real model of random weights."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import sentencepiece as spm
import torch

import maya_encoder
from maya_bridge.serving.cli import api_key, main, parser, settings
from maya_encoder import AcousticModel, AcousticModelConfig, Tokenizer
from maya_encoder.fastconformer import FastConformerConfig

LETTERS = "कखगचजतदनपबमयरलस"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An acoustic model with random weights."""
    place = tmp_path_factory.mktemp("acoustic")
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(LETTERS)] * 5),
        model_prefix=str(place / "asr"),
        vocab_size=len(LETTERS) + 2,
        model_type="char",
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    torch.manual_seed(0)
    encoder = FastConformerConfig(num_layers=1, hidden_size=16, num_heads=2, subsampling_channels=8)
    config = AcousticModelConfig(encoder=encoder, langs=["bn", "hi"])
    tokenizer = Tokenizer([place / "asr.model"], script="common")
    maya_encoder.save(AcousticModel(config, tokenizer).eval(), place / "model")
    return place / "model"


def test_a_server_starts_answers_finishes_and_ends(folder, said, sounds, tmp_path):
    import http.client
    import json

    (tmp_path / "key").write_text("sesame\n", encoding="utf-8")
    command = [sys.executable, "-m", "maya_bridge.serving.cli", "--model", str(folder), "--port", "0"]
    command += ["--no-page", "--api-key-file", str(tmp_path / "key"), "--model-name", "mine"]
    held = {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **held}) as running:
        port = next(found[1] for line in running.stderr if (found := re.search(r"http://127.*:(\d+)", line)))
        threading.Thread(target=running.stderr.read, daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        body = sounds.form(said(100, 3.0), {"language": "hi", "response_format": "verbose_json"})
        kind = {"Content-Type": f"multipart/form-data; boundary={sounds.boundary}"}
        connection.request("POST", "/v1/audio/transcriptions", body, kind)
        refused = connection.getresponse()
        refused.read()
        assert refused.status == 401
        connection.request(
            "POST", "/v1/audio/transcriptions", body, {**kind, "Authorization": "Bearer sesame"}
        )
        told = json.loads(connection.getresponse().read())
        assert (told["language"], told["duration"]) == ("hi", 3.0)
        connection.request(
            "POST", "/v1/audio/transcriptions", body, {**kind, "Authorization": "Bearer sesame"}
        )
        running.send_signal(signal.SIGTERM)
        last = connection.getresponse()
        assert last.status in (200, 503)
        last.read()
        connection.close()
        assert running.wait(20) == 0
    assert os.listdir(tmp_path) == ["key"]


def test_a_folder_that_holds_no_model_is_one_line(tmp_path, capsys):
    assert main(["--model", str(tmp_path / "nothing")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("maya-serve: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("option", [["--max-requests", "0"], ["--api-key-file", "/no/such/file"]])
def test_a_wrong_option_is_one_line(option, folder, capsys):
    assert main(["--model", str(folder), *option]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_options_become_settings(monkeypatch):
    monkeypatch.setenv("MAYA_API_KEY", "from-outside")
    args = parser().parse_args(["--model", "x", "--max-seconds", "60", "--no-page", "--timeout", "5"])
    found = settings(args)
    assert (found.max_seconds, found.page, found.timeout, found.api_key) == (60, False, 5, "from-outside")
    assert found.max_batch == 16


def test_a_keys_file_goes_before_the_environment_and_must_hold_one(monkeypatch, tmp_path):
    monkeypatch.setenv("MAYA_API_KEY", "from-outside")
    (tmp_path / "key").write_text(" inside \n", encoding="utf-8")
    assert api_key(tmp_path / "key") == "inside"
    (tmp_path / "key").write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is empty"):
        api_key(tmp_path / "key")


def test_no_key_is_taken_from_the_command_line():
    with pytest.raises(SystemExit):
        parser().parse_args(["--model", "x", "--api-key", "sesame"])


def test_without_the_extra_the_command_says_how_to_get_it(folder, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "maya_bridge.serving.running", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["--model", str(folder)]) == 2
    assert "pip install 'maya-bridge[serve,page]'" in capsys.readouterr().err
