import json
import subprocess
import sys

import pytest

from maya_bridge import load
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
        (("--lang", "hi", "--decode", "rnnt"), "'rnnt'"),
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
        (("--hotwords", "नमन", "--decode", "ctc"), "`--hotwords` go to the LLM, got --decode ctc"),
        (("--lang", "auto"), "`langs` must name a language of bn, hi"),
        (("--lang", "xx"), "'xx'"),
    ],
)
def test_what_the_llm_cannot_do_is_said(options, message, speech_llm_folder, tone, capsys):
    status, out, err = run(capsys, tone, "--model", speech_llm_folder, "--lang", "hi", *options)

    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_help_needs_neither_torch_nor_transformers():
    code = "import sys, maya_bridge.cli as c; c.parser(); print({'torch', 'transformers'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
