import io
import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import soundfile

from maya_encoder.checkpoint import load, save
from maya_encoder.cli import main, progress
from maya_encoder.plugins import find


@pytest.fixture
def place(model, tmp_path):
    save(model, tmp_path / "model")
    for name, samples in (("a.wav", 8000), ("b.wav", 12000), ("c.wav", 4000)):
        soundfile.write(tmp_path / name, np.random.default_rng(samples).normal(0, 0.1, samples), 16000)
    return tmp_path


@pytest.fixture
def plain_place(plain_model, tmp_path):
    save(plain_model, tmp_path / "plain")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(5).normal(0, 0.1, 16000), 16000)
    return tmp_path


def run(place, *arguments):
    return main(["transcribe", "--model", str(place / "model"), "--lang", "hi", *map(str, arguments)])


def test_one_file_gives_its_text(place, capsys):
    assert run(place, "--head", "ctc", place / "a.wav") == 0
    wanted = load(place / "model").transcribe([place / "a.wav"], lang="hi", head="ctc")[0].text
    assert capsys.readouterr().out == wanted + "\n"


def test_several_files_are_named_in_their_order(place, capsys):
    files = [str(place / name) for name in ("a.wav", "b.wav", "c.wav", "a.wav")]
    assert run(place, "--batch-size", 1, *files) == 0
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == files
    assert err == ""


def test_json_is_the_whole_hypothesis(place, capsys):
    assert run(place, "--json", place / "a.wav") == 0
    found = json.loads(capsys.readouterr().out)
    wanted = load(place / "model").transcribe([place / "a.wav"], lang="hi")[0]
    assert found == {"file": str(place / "a.wav"), **asdict(wanted)}


def test_timestamps_are_a_line_a_word(plain_place, capsys):
    file = str(plain_place / "a.wav")
    command = ["transcribe", file, "--model", str(plain_place / "plain"), "--head", "ctc", "--timestamps"]
    assert main(command) == 0
    text, *lines = capsys.readouterr().out.splitlines()
    hypothesis = load(plain_place / "plain").transcribe(file, head="ctc")[0]
    assert text == hypothesis.text
    assert [line.split("\t")[4] for line in lines] == [word.text for word in hypothesis.words]
    assert len(lines) > 0
    assert [float(line.split("\t")[1]) for line in lines] == pytest.approx(
        [word.start for word in hypothesis.words], abs=0.006
    )


def test_bad_files_are_named_and_the_others_transcribed(place, capsys):
    (place / "bad.wav").write_text("hello")
    files = [place / name for name in ("a.wav", "bad.wav", "nowhere.wav", "b.wav")]
    assert run(place, "--json", *files) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(files[0]), str(files[3])]
    first, second = err.splitlines()
    assert first.startswith(f"maya-encoder: {files[1]} is not a sound file")
    assert second == f"maya-encoder: no such audio file: {files[2]}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head", "multiblank", "x.wav"], "this model has no head named 'multiblank'; it has: ctc, rnnt"),
        (["--lang", "xx", "x.wav"], "does not know language 'xx'; it knows: hi, bn, en"),
        (["--model", "nowhere", "x.wav"], "nowhere does not exist"),
        (["--device", "cuda:99", "x.wav"], "`--device` must be one that torch has, got 'cuda:99'"),
        (["--device", "tpu", "x.wav"], "`--device` must be one that torch has, got 'tpu'"),
        (["--batch-size", "0", "x.wav"], "`batch_size` must be 1 or more, got 0"),
        (["--beam", "0", "x.wav"], "`beam_size` must be 1 or more, got 0"),
        (["--chunk", "-1", "x.wav"], "`chunk_duration` must be"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(place, capsys, arguments, message):
    assert run(place, *arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("maya-encoder: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_missing_language_is_asked_for(place, capsys):
    assert main(["transcribe", "x.wav", "--model", str(place / "model")]) == 2
    assert "`lang` must be given: this model" in capsys.readouterr().err


def test_align_gives_the_words_of_the_text(plain_place, capsys):
    command = [
        "align",
        str(plain_place / "a.wav"),
        "--text",
        "नमस्ते दुनिया",
        "--model",
        str(plain_place / "plain"),
    ]
    assert main(command) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[3] for line in lines] == ["नमस्ते", "दुनिया"]
    assert 0 <= float(lines[0][0]) < float(lines[0][1]) <= float(lines[1][0]) < float(lines[1][1]) <= 1.0
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [word["text"] for word in found["words"]] == ["नमस्ते", "दुनिया"]
    assert found["text"] == "नमस्ते दुनिया"


def test_info_tells_what_a_model_holds(place, capsys):
    assert main(["info", str(place / "model"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["info", str(place / "model")]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in found)


def test_convert_says_what_it_wrote(place, capsys):
    assert main(["convert", str(place / "model"), str(place / "copy")]) == 0
    assert str(place / "copy") in capsys.readouterr().out
    wave = [str(place / "a.wav")]
    assert load(place / "copy").transcribe(wave, lang="hi") == load(place / "model").transcribe(
        wave, lang="hi"
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_terminal_gets_a_bar_and_the_text_stays_clean(place, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert run(place, place / "a.wav", place / "b.wav") == 0
    assert "transcribing" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert "\x1b" not in capsys.readouterr().out


def test_terminal_without_rich_gets_a_counter(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with progress.Progress(3, "transcribing") as bar:
        bar.advance(2)
    assert "transcribing: 2 of 3" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_transcriber_plugin_writes_the_same_text(place):
    transcriber = find("transcribers", "maya-acoustic")(head="ctc").build(place / "model")
    found = transcriber.transcribe([place / "a.wav", place / "b.wav"], "hi", batch_size=2)
    model = load(place / "model")
    assert found == model.transcribe([place / "a.wav", place / "b.wav"], lang="hi", head="ctc")


def test_transcriber_plugin_may_search_and_cut(place):
    plugin = find("transcribers", "maya-acoustic")(head="rnnt", beam=2, chunk_duration=0.4)
    model = load(place / "model")
    wanted = model.transcribe([place / "a.wav"], lang="hi", head="rnnt", beam=2, chunk_duration=0.4)
    assert plugin.build(place / "model").transcribe([place / "a.wav"], ["hi"]) == wanted
    with pytest.raises(ValueError, match="`beam_size` must be 1 or more, got 0"):
        find("transcribers", "maya-acoustic")(beam=0).build(place / "model")


def test_transcriber_plugin_takes_arrays_of_16_khz_whatever_the_model_s_rate(place, model):
    model.frontend.sampling_rate = 8000
    found = find("transcribers", "maya-acoustic")
    loaded = found(head="ctc").build(place / "model")
    loaded.model.frontend.sampling_rate = 8000
    assert loaded.transcribe([np.zeros(16000, np.float32)], ["hi"])[0].duration == 1.0


def test_package_imports_without_torch():
    code = "import sys, maya_encoder, maya_encoder.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
