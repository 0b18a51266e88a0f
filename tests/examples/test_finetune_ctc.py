"""Forty lines learn six spoken pairs of numbers by heart."""

import re

import pytest


@pytest.mark.long
def test_the_commands_learn_what_is_said(example, follow):
    pytest.importorskip("espeakng_loader")
    folder = example("finetune_ctc")
    printed = follow(folder)
    losses = [float(loss) for loss in re.findall(r"epoch \d+ of \d+: loss ([\d.]+)", printed)]
    assert losses[-1] < 0.3 < losses[0]
    texts = dict(line.split("\t") for line in (folder / "wavs/transcripts.tsv").read_text().splitlines())
    assert f"00.wav: {texts['00.wav']} -> {texts['00.wav']}\n" in printed
    assert texts["02.wav"] == "दो एक"
    assert texts["02.wav"] in printed.splitlines()[-1]


def test_it_is_forty_lines_and_uses_maya_encoder_alone(example):
    code = (example("finetune_ctc") / "finetune.py").read_text()
    assert len(code.splitlines()) <= 40
    assert set(re.findall(r"maya_\w+", code)) == {"maya_encoder"}
