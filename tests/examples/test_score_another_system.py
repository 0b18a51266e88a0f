"""Somebody else's output, and somebody else's recogniser, scored as ours."""

import json

import pytest


def test_the_commands_score_and_compare_an_output(example, follow):
    folder = example("score_another_system")
    printed = follow(folder)
    rows = json.loads((folder / "theirs.json").read_text())["rows"]
    wer = {(row["lang"], row["profile"]): row["wer"] for row in rows}
    assert wer["hi", "raw"] > wer["hi", "indic-strict-v1"] > 0
    assert all(row["wer_low"] <= row["wer"] <= row["wer_high"] for row in rows)
    assert "theirs" in printed
    assert "ours" in printed
    assert "<html" in (folder / "report.html").read_text()[:1000].lower()


@pytest.mark.long
def test_the_commands_run_a_recogniser(example, follow):
    pytest.importorskip("espeakng_loader")
    folder = example("score_another_system")
    printed = follow(folder, block=1)
    lines = [json.loads(line) for line in (folder / "heard.jsonl").read_text().splitlines()]
    assert {line["lang"] for line in lines} == {"hi", "ta"}
    assert {line["pred_text"] for line in lines} & {"एक", "ஒன்று"}
    assert "WER" in printed
