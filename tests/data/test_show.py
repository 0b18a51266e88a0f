import argparse

import pytest
import soundfile

from maya_data.audio.fetch import read_audio
from maya_data.cli import show as command


def _run(*arguments):
    commands = argparse.ArgumentParser().add_subparsers()
    command.add(commands)
    parsed = commands.choices["show"].parse_args([str(argument) for argument in arguments])
    return parsed.run(parsed)


def test_row_is_printed_and_its_wav_written(index, tmp_path, capsys):
    wav = tmp_path / "made" / "a.wav"
    assert not _run(index.path, "hi-000-003", "--wav", wav)
    said = capsys.readouterr().out
    for fact in ("hi-000-003", "lang=hi/000/audio.tar", "नमस्ते दुनिया", "tiny", "speaker1", str(wav)):
        assert fact in said
    samples, rate = soundfile.read(wav, dtype="int16")
    assert rate == 16000
    assert samples.tolist() == read_audio(index, index.find("hi-000-003")).tolist()


def test_a_row_number_will_do(index, capsys):
    _run(index.path, "#0")
    assert "row           0\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nobody", "#70"])
def test_an_unknown_id_is_named(index, name):
    with pytest.raises(LookupError, match=f"has the id '{name}'"):
        _run(index.path, name)
