"""Which of the two front ends an archive gets; its numbers are compared in test_nemo_goldens.py."""

from pathlib import Path

import pytest

import maya_encoder
from maya_encoder.interop import read_any
from maya_encoder.interop.nemo_frontend import frontend_of

GOLDENS = Path(__file__).parent / "goldens" / "nemo"


@pytest.mark.parametrize(
    ("version", "frontend"),
    [
        ("3.0.0", "modern"),
        ("2.5.0rc0", "modern"),
        ("2.10.1", "modern"),
        ("2.4.1", "legacy"),
        ("1.23.0rc0", "legacy"),
        (None, "legacy"),
    ],
)
def test_frontend_is_that_of_the_version_that_wrote_the_archive(version, frontend):
    assert frontend_of(version) == frontend


def test_frontend_can_be_chosen_by_hand():
    model = maya_encoder.load(GOLDENS / "legacy.nemo")
    assert (model.frontend.frontend, model.config.encoder.masked_subsampling) == ("legacy", False)
    model = maya_encoder.load(GOLDENS / "legacy.nemo", frontend="modern")
    assert (model.frontend.frontend, model.config.encoder.masked_subsampling) == ("modern", True)
    model = maya_encoder.load(GOLDENS / "ctc.nemo", frontend="legacy")
    assert (model.frontend.frontend, model.config.encoder.masked_subsampling) == ("legacy", False)
    with pytest.raises(ValueError, match="`frontend` must be modern or legacy, got 'old'"):
        maya_encoder.load(GOLDENS / "legacy.nemo", frontend="old")


def test_notes_tell_which_frontend_was_chosen_and_why():
    assert "NeMo 1.23.0" in read_any(GOLDENS / "legacy.nemo").notes[0]
    assert "modern" in read_any(GOLDENS / "legacy.nemo", frontend="modern").notes[-1]
