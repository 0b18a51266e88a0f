"""What other people's files do not tell stays with the model, and is warned of where it matters."""

import warnings

import pytest

import maya_encoder
from maya_encoder.cli import main
from maya_encoder.interop import read_any


@pytest.fixture
def opened(published):
    """The model and what was warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return maya_encoder.load(published[1]), told


def test_all_notes_are_on_the_model(published, opened):
    assert opened[0].import_notes == read_any(published[1]).notes
    assert len(opened[0].import_notes) > 3


def test_one_warning_names_what_may_change_numbers_and_no_more(published, opened):
    (warning,) = opened[1]
    message = str(warning.message)
    assert message.startswith(f"{published[1]}: numbers may differ from those of its own program: ")
    for doubt in ("front end is taken to be the legacy one", "see the whole utterance", "preprocessor.ts"):
        assert doubt in message
    assert "dropout" not in message
    assert warning.filename == __file__


def test_a_front_end_that_is_asked_for_is_no_doubt(published):
    with pytest.warns(UserWarning, match="whole utterance") as told:
        model = maya_encoder.load(published[1], frontend="legacy")
    assert "front end" not in str(told[0].message)
    assert not any("taken to be" in note for note in model.import_notes)


def test_notes_outlive_a_folder_of_our_own(opened, tmp_path):
    opened[0].save(tmp_path / "maya")
    again = maya_encoder.load(tmp_path / "maya")  # a warning here would be an error
    assert again.import_notes == opened[0].import_notes
    assert again.langs == opened[0].langs


def test_a_model_of_our_own_has_none(opened, tmp_path):
    model = maya_encoder.AcousticModel(opened[0].config, opened[0].tokenizer)
    model.save(tmp_path / "maya")
    assert maya_encoder.load(tmp_path / "maya").import_notes == []


def test_the_commands_tell_them_in_one_line_and_once(published, tmp_path, capsys):
    assert main(["transcribe", str(tmp_path / "none.wav"), "--model", str(published[1]), "--lang", "hi"]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "numbers may differ" in line]
    assert len(lines) == 1
    assert lines[0].startswith("maya-encoder: note: ")
    assert main(["convert", str(published[1]), str(tmp_path / "maya")]) == 0
    found = capsys.readouterr()
    assert found.out.count("whole utterance") == 1
    assert "numbers may differ" not in found.err
    assert main(["info", str(tmp_path / "maya"), "--json"]) == 0
    assert "whole utterance" in capsys.readouterr().out


def test_the_report_on_parts_has_them_too(published, opened):
    model = maya_encoder.AcousticModel(opened[0].config, opened[0].tokenizer)
    assert maya_encoder.load_into(model, published[1]).notes == opened[0].import_notes
