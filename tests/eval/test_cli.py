import json

import pytest

from maya_eval.cli import main
from maya_eval.hypotheses import write_hypotheses


@pytest.fixture
def file(tmp_path, hypotheses):
    write_hypotheses(tmp_path / "h.jsonl", hypotheses)
    return tmp_path / "h.jsonl"


def test_score_prints_a_table_and_writes_the_rows(file, tmp_path, capsys):
    out = tmp_path / "s.json"
    assert main(["score", str(file), "--profiles", "raw,indic-strict-v1", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["lang"], row["profile"]) for row in rows[:4]] == [
        ("en", "raw"),
        ("hi", "raw"),
        ("ta", "raw"),
        ("en", "indic-strict-v1"),
    ]
    assert "mean of 3" in capsys.readouterr().out


def test_score_by_a_column(file, capsys):
    assert main(["score", str(file), "--by", "speaker"]) == 0
    assert "voice1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "spekaer"], "no line has a column 'spekaer'"),
        (["--profile", "strict"], "no scoring profile named 'strict'"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(file, capsys, arguments, message):
    assert main(["score", str(file), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["score", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_report_finds_what_lies_beside_the_summary(tmp_path, summary, hypotheses, capsys):
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    write_hypotheses(tmp_path / "hyps" / "ctc.jsonl", hypotheses)
    out = tmp_path / "r.html"
    assert main(["report", str(tmp_path / "summary.json"), "--out", str(out), "--title", "A run"]) == 0
    assert 'id="voices"' in out.read_text()
    assert "wrote" in capsys.readouterr().out


def test_a_torn_summary_is_named(tmp_path, capsys):
    (tmp_path / "summary.json").write_text('{"rows": [')
    assert main(["report", str(tmp_path / "summary.json"), "--out", str(tmp_path / "r.html")]) == 2
    assert "summary.json: not JSON" in capsys.readouterr().err


def test_set_takes_pairs(capsys):
    assert main(["run", "--model", "m", "--index", "i", "--out", "o", "--set", "head"]) == 2
    assert "--set takes FIELD=VALUE, got 'head'" in capsys.readouterr().err
