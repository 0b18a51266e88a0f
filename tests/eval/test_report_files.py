import csv
import json

import pytest

from maya_eval.cli import main
from maya_eval.hypotheses import Hypothesis, read_hypotheses, write_hypotheses
from maya_eval.report.published import baselines, benchmarks_with, on_benchmark, profile_on
from maya_eval.summary import parse_summary


@pytest.fixture
def file(tmp_path, hypotheses):
    write_hypotheses(tmp_path / "mine.jsonl", hypotheses)
    return tmp_path / "mine.jsonl"


def test_a_report_leaves_page_summary_csv_and_markdown(file, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["report", str(file), f"other={file}", "--out", str(out), "--profiles", "indic-strict-v1,raw"])
        == 0
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "report.html",
        "scores.csv",
        "scores.md",
        "summary.json",
    ]
    summary = json.loads((out / "summary.json").read_text())
    parsed = parse_summary(summary)
    assert (parsed.profile, parsed.heads, parsed.langs) == (
        "indic-strict-v1",
        ["mine", "other"],
        ["en", "hi", "ta"],
    )
    assert parsed.cell("mine", "hi").low is not None
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert len(rows) == 12  # systems x profiles x languages, and no mean
    assert {row["profile"] for row in rows} == {"indic-strict-v1", "raw"}
    assert all(row["version"] and row["wer_low"] for row in rows)
    assert rows[0]["script.fidelity"]
    markdown = (out / "scores.md").read_text()
    assert "| system | profile | en | hi | ta | mean of 3 |" in markdown
    assert "report.html" in capsys.readouterr().out


def test_systems_with_other_utterances_are_refused_unless_told(file, tmp_path, capsys):
    rows = read_hypotheses(file)
    write_hypotheses(tmp_path / "short.jsonl", rows[1:])
    both = ["report", str(file), str(tmp_path / "short.jsonl"), "--out", str(tmp_path / "out")]
    assert main(both) == 2
    assert f"short: 1 utterance is missing that another file has, the first is {rows[0].utt_id!r}" in (
        capsys.readouterr().err
    )
    assert main([*both, "--missing", "deletions"]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {row["utterances"] for row in summary["rows"]} == {10}


def test_the_page_lies_beside_the_input_when_no_place_is_given(file, capsys):
    assert main(["report", str(file)]) == 0
    assert file.with_name("report.html").exists()


def test_another_programs_summary_is_left_alone(file, tmp_path, capsys):
    mine = tmp_path / "summary.json"
    mine.write_text('{"rows": [], "seconds": {"train": 3600}}')
    assert main(["report", str(file), "--out", str(tmp_path)]) == 0
    assert json.loads(mine.read_text())["seconds"] == {"train": 3600}
    assert (tmp_path / "scores.csv").exists()


def test_clips_beside_the_lines_are_embedded(file, tmp_path, capsys):
    folder = tmp_path / "mine.clips"
    folder.mkdir()
    (folder / "a.flac").write_bytes(b"x" * 99)
    (folder / "clips.json").write_text(json.dumps({f"hi-{i}": "a.flac" for i in range(10)}))
    assert main(["report", str(file), "--embed-audio", "3", "--out", str(tmp_path / "p.html")]) == 0
    page = (tmp_path / "p.html").read_text()
    assert 'id="clip-2"' in page
    assert 'id="clip-3"' not in page


def test_lines_of_other_tools_are_read_and_their_sound_linked(tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    line = {"audio_filepath": "a.wav", "duration": 1.0, "text": "एक दो", "pred_text": "एक", "lang": "hi"}
    (tmp_path / "nemo.jsonl").write_text(json.dumps(line) + "\n")
    assert main(["report", str(tmp_path / "nemo.jsonl"), "--embed-audio", "0"]) == 0
    assert "Utterances" in (tmp_path / "report.html").read_text()


def test_markup_in_names_does_not_break_the_markdown(tmp_path, capsys):
    row = Hypothesis(utt_id="1", lang="hi", text="क", pred_text="क", extra={"benchmark": "a|b<i>"})
    write_hypotheses(tmp_path / "x.jsonl", [row])
    assert main(["report", f"n|m={tmp_path / 'x.jsonl'}"]) == 0
    markdown = (tmp_path / "scores.md").read_text()
    assert "## a\\|b&lt;i>" in markdown
    assert "| n\\|m |" in markdown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}", "{file}"], "two files for the system 'mine'"),
        (["{file}", "--embed-audio", "-1"], "--embed-audio takes 0 or more, got -1"),
        (["{file}", "--profiles", "strict"], "no scoring profile named 'strict'"),
        (["none.jsonl"], "none.jsonl: no such file"),
    ],
)
def test_a_mistake_is_one_line(file, capsys, arguments, message):
    assert main(["report", *(item.format(file=file) for item in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_every_published_figure_has_a_source():
    assert len(baselines()) > 300
    for item in baselines():
        assert item.source, item
        assert item.verification, item
        assert item.metric in ("WER", "CER", "RTFx")
        assert 0 < item.value < 5000
    assert not any(item.language.startswith("avg") for item in baselines())


def test_published_figures_are_found_by_benchmark_and_language():
    assert on_benchmark("vistaar/kathbath")["IndicWhisper"]["hi"].value == 10.3
    assert profile_on("Vistaar/Kathbath Hard") == "vistaar"
    assert profile_on("FLEURS") == ""
    assert "Svarah" in benchmarks_with(["en"])
    assert on_benchmark("no such set") == {}
