import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import maya_encoder
from maya_encoder.cli import main
from maya_encoder.transcribe_options import Options

README = Path(__file__).parents[2] / "packages" / "maya-encoder" / "README.md"
TEXT = README.read_text(encoding="utf-8")


def example(word):
    return next(code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if word in code)


def first_column(heading):
    table = TEXT.split(f"| {heading} |")[1].split("\n\n")[0]
    return [
        name
        for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\S+?)`", cell)
    ]


@pytest.fixture
def place(model, tmp_path, monkeypatch):
    """Where the examples are run."""
    model.save(tmp_path / "runs" / "demo" / "model")
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("place")
def test_five_lines_transcribe(capsys):
    code = example("transcribe")
    assert len([line for line in code.splitlines() if line]) <= 5
    exec(code, {})
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.usefixtures("place")
def test_first_command_transcribes(capsys):
    command = re.search(r"^    maya-encoder (transcribe a\.wav .*)$", TEXT, re.MULTILINE)[1]
    assert main(command.split()) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_every_command_and_option_that_is_named_is_there(capsys):
    commands = re.findall(r"^    maya-encoder (\w+) (.*)$", TEXT, re.MULTILINE)
    assert {name for name, _ in commands} == {"transcribe", "align", "convert", "info"}
    for name, rest in commands:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        told = capsys.readouterr().out
        assert all(option in told for option in re.findall(r"--\w+", rest)), name


@pytest.mark.usefixtures("place")
def test_examples_of_the_parts_and_of_a_model_run():
    torch.manual_seed(0)
    names: dict = {"maya_encoder": maya_encoder}
    exec(example("LogMel"), names)
    assert names["loss"].shape == (2,)
    assert len(names["texts"]) == 2
    assert names["out"].encoder_out.shape[::2] == (2, 64)
    exec(example("load_into"), names)
    assert len(names["deeper"].encoder.layers) == 3
    assert {name.split(".")[0] for name in names["report"].loaded} == {"heads", "encoder"}
    assert all(weight.grad is not None for weight in names["model"].heads.parameters())


def test_every_example_is_run():
    assert len(re.findall(r"```python", TEXT)) == 3


def test_every_public_name_is_in_the_table():
    listed = {name for name in first_column("public name") if "." not in name}
    assert listed == set(maya_encoder.__all__)
    assert all(callable(getattr(maya_encoder, name)) for name in listed)


def test_every_keyword_of_transcribe_is_in_the_table():
    assert set(first_column("keyword")) == {"lang", "langs", "head", "batch_size", *Options.__annotations__}


def test_every_file_that_is_named_is_there():
    source = README.parent / "src" / "maya_encoder"
    named = re.findall(r"`((?:\w+/)?\w+\.py)`", TEXT)
    assert len(named) > 20
    assert [name for name in named if not (source / name).is_file()] == []
