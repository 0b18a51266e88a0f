import json
import random

import pytest

from maya_eval.cli import main
from maya_eval.hypotheses import Hypothesis, read_hypotheses, write_hypotheses


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
        (["--by", ","], "a grouping names one or more columns"),
        (["--edges", "duration=a"], "--edges takes COLUMN=A,B,... with numbers, got 'duration=a'"),
        (["--measures", "speling"], "no measure named 'speling'"),
        (["--measures", "variants"], "give --lattice FILE"),
        (["--lattice", "nofile"], "nofile: no such file"),
        (["--profile", "strict"], "no scoring profile named 'strict'"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(file, capsys, arguments, message):
    assert main(["score", str(file), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [("Hindi", "hi"), ("hi-IN", "hi"), ("हिन्दी", "hi"), ("EN_us", "en")],
)
def test_a_language_that_is_not_a_code_gets_the_code(tmp_path, capsys, given, meant):
    write_hypotheses(tmp_path / "h.jsonl", [Hypothesis(utt_id="7", lang=given, text="a", pred_text="a")])
    assert main(["score", str(tmp_path / "h.jsonl")]) == 2
    error = capsys.readouterr().err
    assert "utterance '7': `lang` must be one of as, bn, en, " in error
    assert error.endswith(f"got {given!r}; did you mean {meant!r}?\n")


def test_a_place_that_cannot_be_used_is_named(file, tmp_path, capsys):
    assert main(["score", str(tmp_path)]) == 2
    assert f"{tmp_path}: a folder; JSON lines" in capsys.readouterr().err
    assert main(["score", str(file), "--json", str(tmp_path / "none" / "x.json")]) == 2
    assert "x.json: no such file or directory" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["score", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_score_says_which_languages_a_profile_lacks(file, tmp_path, capsys):
    out = tmp_path / "s.json"
    assert main(["score", str(file), "--profiles", "raw,vistaar,whisper-en", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["lang"] for row in rows if row["profile"] == "vistaar"] == ["hi", "ta"]
    assert [row["lang"] for row in rows if row["profile"] == "whisper-en"] == ["en"]
    assert "whisper-en has no rules for hi, ta" in capsys.readouterr().err


def test_score_writes_measures_speed_and_utterances(file, tmp_path, capsys):
    out, counts, lattice = tmp_path / "s.json", tmp_path / "u.jsonl", tmp_path / "l.jsonl"
    lattice.write_text('{"variants": ["a", "b"]}')
    arguments = [
        "--measures",
        "all",
        "--lattice",
        str(lattice),
        "--json",
        str(out),
        "--utterances",
        str(counts),
    ]
    assert main(["score", str(file), *arguments]) == 0
    document = json.loads(out.read_text())
    assert {"script", "codeswitch", "hallucination", "spacing", "variants"} <= set(document["rows"][0])
    lines = [json.loads(line) for line in counts.read_text().splitlines()]
    assert len(lines) == 30
    row = document["rows"][0]
    own = [line for line in lines if line["lang"] == row["lang"]]
    assert (
        sum(line["sub"] + line["del"] + line["ins"] for line in own) == row["sub"] + row["del"] + row["ins"]
    )
    assert {(line["profile"], line["version"]) for line in lines} == {("indic-strict-v1", "1")}
    assert "codeswitch, profile indic-strict-v1" in capsys.readouterr().out


def test_score_parts_numbers_at_edges(file, tmp_path):
    out = tmp_path / "s.json"
    arguments = ["--by", "lang,duration", "--edges", "duration=1,3", "--json", str(out)]
    assert main(["score", str(file), *arguments]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["lang"], row["duration"]) for row in rows] == [("en", "1-3"), ("hi", "1-3"), ("ta", "1-3")]


def test_score_shows_recognised_languages(file, tmp_path, hypotheses, capsys):
    for row in hypotheses:
        row.extra["pred_lang"] = "hi"
    write_hypotheses(file, hypotheses)
    out = tmp_path / "s.json"
    assert main(["score", str(file), "--measures", "script", "--json", str(out)]) == 0
    found = json.loads(out.read_text())["language_identification"]
    assert (found["accuracy"], found["confusion"]["ta"]) == (pytest.approx(1 / 3), {"hi": 10})
    assert "33.3 % right of 30" in " ".join(capsys.readouterr().out.split())


def test_score_against_references(tmp_path, hypotheses, capsys):
    refs, hyps, out = tmp_path / "refs.jsonl", tmp_path / "h.jsonl", tmp_path / "s.json"
    write_hypotheses(refs, hypotheses)
    hyps.write_text('{"utt_id": "en-0", "pred_text": "the train"}\n')
    assert main(["score", str(hyps), "--refs", str(refs)]) == 2
    assert "29 utterances are missing" in capsys.readouterr().err
    arguments = ["--refs", str(refs), "--missing", "deletions", "--json", str(out)]
    assert main(["score", str(hyps), *arguments]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["lang"], row["utterances"]) for row in rows] == [("en", 10), ("hi", 10), ("ta", 10)]
    assert rows[1]["wer"] == 1.0 == rows[1]["del"] / rows[1]["words"]


@pytest.mark.parametrize("line", [b'{"utt_id": "x", "lang"', b'{"utt_id": "\xff"}\n'])
def test_a_line_that_cannot_be_read_is_named_by_number(file, capsys, line):
    file.write_bytes(file.read_bytes() + line)
    assert main(["score", str(file)]) == 2
    assert "h.jsonl:31: not " in capsys.readouterr().err


@pytest.fixture
def systems(tmp_path):
    """A weak and a strong system on 40 utterances of Hindi, with an empty reference among them."""
    words = ("आज", "मौसम", "बहुत", "अच्छा", "है")
    rng = random.Random(0)
    for name, wrong in (("ctc", 0.5), ("rnnt", 0.5), ("llm", 0.05)):
        rows = [Hypothesis(utt_id="silence", lang="hi", text="", pred_text="")]
        for i in range(40):
            hyp = " ".join("गलत" if rng.random() < wrong else word for word in words)
            rows.append(Hypothesis(utt_id=str(i), lang="hi", text=" ".join(words), pred_text=hyp))
        write_hypotheses(tmp_path / "hyps" / f"{name}.jsonl", rows)
    return tmp_path / "hyps"


def test_compare_prints_and_writes_who_is_better(systems, tmp_path, capsys):
    out = tmp_path / "c.json"
    files = [str(systems / "ctc.jsonl"), str(systems / "llm.jsonl")]
    assert main(["compare", *files, "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    (row,) = document["rows"]
    assert (document["first"], document["second"], row["better"]) == ("ctc", "llm", "second")
    assert (row["profile"], row["version"], row["utterances"]) == ("indic-strict-v1", "1", 41)
    assert "llm minus ctc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profiles", "raw,vistaar"], "a comparison has one profile, got raw, vistaar"),
        (["--minimum", "99"], "nothing can be tested: hi: 40 utterances with speech, a test needs 99"),
        (["--alpha", "2"], "`alpha` must lie between 0 and 1"),
    ],
)
def test_compare_refuses_what_it_cannot_test(systems, capsys, arguments, message):
    files = [str(systems / "ctc.jsonl"), str(systems / "llm.jsonl")]
    assert main(["compare", *files, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_compare_refuses_lines_of_another_profile(systems, tmp_path, capsys):
    rows = read_hypotheses(systems / "llm.jsonl")
    for row in rows:
        row.extra["profile"] = "vistaar"
    write_hypotheses(tmp_path / "other.jsonl", rows)
    assert main(["compare", str(systems / "ctc.jsonl"), str(tmp_path / "other.jsonl")]) == 2
    assert (
        "its lines were scored under vistaar, a comparison has one: indic-strict-v1"
        in capsys.readouterr().err
    )


def test_compare_refuses_one_file_twice(systems, capsys):
    assert main(["compare", str(systems / "ctc.jsonl"), str(systems / "ctc.jsonl")]) == 2
    assert "is given twice" in capsys.readouterr().err


def test_gate_of_a_folder_says_what_ships_and_passes(systems, tmp_path, capsys):
    out = tmp_path / "g.json"
    assert main(["gate", str(systems), "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    (decision,) = document["decisions"]
    assert (document["passed"], decision["ship"]) == (True, "llm")
    assert "fewer errors than ctc" in decision["why"]
    assert "passed" in capsys.readouterr().out


def test_gate_fails_with_status_one(systems, capsys):
    arguments = [
        "--llm",
        str(systems / "llm.jsonl"),
        "--ctc",
        str(systems / "ctc.jsonl"),
        "--max-wer",
        "0.001",
    ]
    assert main(["gate", *arguments]) == 1
    assert "not passed: hi" in capsys.readouterr().out


def test_gate_without_two_heads_is_refused(systems, capsys):
    assert main(["gate", "--llm", str(systems / "llm.jsonl")]) == 2
    assert "a gate needs two or more of ctc, rnnt, llm, got llm" in capsys.readouterr().err


def test_gate_refuses_a_percentage_for_a_fraction(systems, capsys):
    with pytest.raises(SystemExit):
        main(["gate", str(systems), "--max-wer", "25"])
    assert "between 0 and 1, got 25" in capsys.readouterr().err


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
