import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from maya_encoder.checkpoint import load, save
from maya_encoder.cli import main
from maya_encoder.plugins import find


@pytest.fixture
def place(model, tmp_path):
    save(model, tmp_path / "model")
    for name, samples in (("a.wav", 8000), ("b.wav", 12000)):
        soundfile.write(tmp_path / name, np.random.default_rng(samples).normal(0, 0.1, samples), 16000)
    return tmp_path


def run(place, *arguments):
    return main(["transcribe", "--model", str(place / "model"), "--lang", "hi", *arguments])


def test_one_file_gives_its_text(place, capsys):
    assert run(place, "--head", "ctc", str(place / "a.wav")) == 0
    wanted = load(place / "model").transcribe([place / "a.wav"], "hi", head="ctc")[0].text
    assert capsys.readouterr().out == wanted + "\n"


def test_several_files_are_named(place, capsys):
    files = [str(place / "a.wav"), str(place / "b.wav")]
    assert run(place, *files) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == files


def test_json_has_all_of_the_hypothesis(place, capsys):
    assert run(place, "--json", str(place / "a.wav")) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"file", "text", "lang", "head", "duration"}
    assert (found["head"], found["duration"]) == ("rnnt", 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.wav"], "no such audio file: nowhere.wav"),
        (["--head", "tdt", "x.wav"], "this model has no head named 'tdt'"),
        (["--lang", "xx", "x.wav"], "does not know language 'xx'"),
        (["--model", "nowhere", "x.wav"], "nowhere is no model folder"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(place, capsys, arguments, message):
    assert run(place, *arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("maya-encoder: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_transcriber_plugin_writes_the_same_text(place):
    transcriber = find("transcribers", "maya-acoustic")(head="ctc").build(place / "model")
    found = transcriber.transcribe([place / "a.wav", place / "b.wav"], "hi", batch_size=2)
    model = load(place / "model")
    assert found == model.transcribe([place / "a.wav", place / "b.wav"], "hi", head="ctc")


def test_package_imports_without_torch():
    code = "import sys, maya_encoder, maya_encoder.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
