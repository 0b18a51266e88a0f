import io
import json
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest

from maya_bridge import load
from maya_bridge.any_model import HeadsModel
from maya_bridge.cli import main
from maya_encoder.checkpoint import load as load_acoustic


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_one_file_gives_its_text(speech_llm_folder, tone, capsys):
    expected = load(speech_llm_folder).transcribe([tone], "hi")[0].text

    assert run(capsys, tone, "--model", speech_llm_folder, "--lang", "hi") == (0, f"{expected}\n", "")


@pytest.mark.parametrize("decode", ["greedy", "ctc"])
def test_json_names_the_file_and_who_wrote(decode, speech_llm_folder, tone, capsys):
    options = ("--model", speech_llm_folder, "--lang", "hi", "--decode", decode, "--json")

    status, out, _ = run(capsys, tone, tone, *options)

    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [line["file"] for line in lines] == [str(tone)] * 2
    assert {line["head"] for line in lines} == {"llm" if decode == "greedy" else "ctc"}
    assert lines[0]["duration"] == 0.5


def test_an_acoustic_folder_serves_its_heads(acoustic_folder, tone, capsys):
    expected = load_acoustic(acoustic_folder).transcribe([tone], lang="hi", head="ctc")[0].text

    for options in ((), ("--decode", "ctc")):
        status, out, _ = run(capsys, tone, "--model", acoustic_folder, "--lang", "hi", *options)
        assert (status, out) == (0, f"{expected}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lang", "xx"), "'xx'"),
        (("--lang", "hi", "--decode", "rnnt"), "`decode` must be one of ctc"),
        (("--lang", "hi", "--decode", "greedy"), "which holds no LLM, got greedy"),
    ],
)
def test_mistakes_are_one_line_and_status_two(options, message, acoustic_folder, tone, capsys):
    status, out, err = run(capsys, tone, "--model", acoustic_folder, *options)

    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("maya-transcribe: ")
    assert err.count("\n") == 1


def test_a_missing_model_is_named(tmp_path, tone, capsys):
    status, _, err = run(capsys, tone, "--model", tmp_path / "nowhere", "--lang", "hi")

    assert status == 2
    assert "nowhere" in err


@pytest.mark.parametrize("decode", ["greedy", "beam", "speculative"])
def test_the_llm_is_searched_as_asked(decode, speech_llm_folder, tone, capsys):
    expected = load(speech_llm_folder).transcribe([tone], "hi", decode=decode)[0].text

    status, out, _ = run(capsys, tone, "--model", speech_llm_folder, "--lang", "hi", "--decode", decode)

    assert (status, out) == (0, f"{expected}\n")


@pytest.mark.parametrize("decode", ["greedy", "ctc"])
def test_timestamps_are_a_line_a_word(decode, speech_llm_folder, tone, capsys):
    (expected,) = load(speech_llm_folder).transcribe([tone], "hi", decode=decode)
    options = ("--model", speech_llm_folder, "--lang", "hi", "--decode", decode, "--timestamps")

    status, out, _ = run(capsys, tone, *options)

    words = [f"\t{w.start:.2f}\t{w.end:.2f}\t{w.confidence:.2f}\t{w.text}" for w in expected.words]
    assert (status, out.splitlines()) == (0, [expected.text, *words])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hotwords", "नमन"), "hotwords need an LLM whose tokenizer knows <|ctx|>"),
        (("--hotwords", "ச", "--decode", "ctc"), "`phrases` must be of characters that the model writes"),
        (("--lang", "auto"), "`langs` must name a language of bn, hi"),
        (("--lang", "xx"), "'xx'"),
    ],
)
def test_what_the_llm_cannot_do_is_said(options, message, speech_llm_folder, tone, capsys):
    status, out, err = run(capsys, tone, "--model", speech_llm_folder, "--lang", "hi", *options)

    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.fixture
def folder(tone, tmp_path):
    """Two good files, one of them further down, and a bad one."""
    audio = tmp_path / "audio"
    (audio / "deep").mkdir(parents=True)
    for name in ("a.wav", "deep/c.wav"):
        (audio / name).write_bytes(tone.read_bytes())
    (audio / "bad.wav").write_text("nobody says anything here")
    return audio


def test_a_bad_file_is_named_with_status_one_and_the_others_are_done(folder, acoustic_folder, capsys):
    status, out, err = run(capsys, folder, "--model", acoustic_folder, "--lang", "hi")

    assert status == 1
    assert [line.split("\t")[0] for line in out.splitlines()] == [f"{folder}/a.wav", f"{folder}/deep/c.wav"]
    assert err.splitlines()[0].startswith(f"maya-transcribe: {folder}/bad.wav ")
    assert err.splitlines()[1:] == [f"maya-transcribe: 1 of 3 failed: {folder}/bad.wav"]


def test_an_output_folder_gets_a_file_each_and_is_gone_on_with(folder, acoustic_folder, capsys, monkeypatch):
    options = ("--model", acoustic_folder, "--lang", "hi", "--output", folder / "out")
    (folder / "bad.wav").unlink()
    heard, transcribe = [], HeadsModel._transcribe
    monkeypatch.setattr(HeadsModel, "_transcribe", lambda *args: heard.append(1) or transcribe(*args))

    first = [run(capsys, folder, *options, "--format", "srt")[0] for _ in range(2)]
    vtt = run(capsys, folder, *options, "--format", "vtt")[0]

    assert (*first, vtt, len(heard)) == (0, 0, 0, 1)
    names = sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.*tt"))
    names += sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.srt"))
    assert names == ["a.vtt", "deep/c.vtt", "a.srt", "deep/c.srt"]
    run(capsys, folder, *options, "--fresh")
    assert len(heard) == 2
    assert (folder / "out" / "a.txt").read_text(encoding="utf-8").endswith("\n")


def test_standard_input_is_read_and_leaves_no_file(tone, acoustic_folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(tone.read_bytes())))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    options = ("--model", acoustic_folder, "--lang", "hi")
    expected = run(capsys, tone, *options)

    assert run(capsys, "-", *options) == expected
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    status, out, err = run(capsys, "-", *options)
    assert (status, out, err) == (1, "", "maya-transcribe: standard input is empty\n")
    assert not list(tmp_path.glob("maya-transcribe-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "srt"), "`--output` must be given for srt of 3 files"),
        (("--batch-size", "0"), "`--batch-size` must be 1 or more, got 0"),
        (("--output", __file__), "`--output` must be a folder"),
    ],
)
def test_wrong_usage_is_status_two(options, message, folder, acoustic_folder, capsys):
    status, out, err = run(capsys, folder, "--model", acoustic_folder, "--lang", "hi", *options)

    assert (status, out) == (2, "")
    assert message in err


def test_int8_prints_what_it_saves(tone, acoustic_folder, capsys):
    status, _, err = run(capsys, tone, "--model", acoustic_folder, "--lang", "hi", "--int8")

    assert status == 0
    assert err.startswith("maya-transcribe: int8: ")
    assert " saved" in err


def test_help_needs_neither_torch_nor_transformers():
    code = "import sys, maya_bridge.cli as c; c.parser(); print({'torch', 'transformers'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
