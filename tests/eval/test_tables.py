import pytest
from rich.console import Console

from maya_eval.scores import score
from maya_eval.summary import clock, parse_summary
from maya_eval.tables import score_table, summary_table


def _printed(table, width=80):
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_summary_table_holds_every_part_in_eighty_columns(summary):
    text = _printed(summary_table(summary))
    lines = text.splitlines()
    assert text.index("CTC") < text.index("LLM")
    assert any(line.split() == ["hi", "Hindi", "21.0", "5.2", "12.0", "3.0", "10"] for line in lines)
    assert any(line.split() == ["mean", "of", "3", "21.0", "5.2", "12.0", "3.0", "30"] for line in lines)
    assert any(line.split()[:3] == ["control", "102.0", "25.5"] for line in lines if line.strip())
    assert "0.011" in text
    assert "encoder 5 min 12 s" in text
    assert "2.3 GiB" in text
    assert "\u2026" not in text


def test_twelve_languages_and_three_heads_fit_too(summary):
    langs = ["as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te"]
    row = summary["rows"][0]
    rows = [row | {"lang": lang, "head": head} for lang in langs for head in ("llm", "ctc", "rnnt")]
    text = _printed(summary_table(summary | {"rows": rows}))
    assert "ml Malayalam" in text
    assert "\u2026" not in text


@pytest.mark.parametrize("profiles", [["raw"], ["raw", "indic-strict-v1"]])
def test_score_rows_fit_in_eighty_columns(hypotheses, profiles):
    text = _printed(score_table([row for name in profiles for row in score(hypotheses, name)]))
    assert text.count("mean of 3") == len(profiles)
    assert "\u2026" not in text


def test_a_summary_without_rows_is_refused():
    with pytest.raises(ValueError, match="no `rows`"):
        parse_summary({"seconds": {}})
    with pytest.raises(ValueError, match="a row of the summary has no 'cer'"):
        parse_summary({"rows": [{"lang": "hi", "head": "ctc", "wer": 0.1}]})


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.44, "8.4 s"), (185, "3 min 05 s"), (3720, "1 h 02 min"), (59.97, "1 min 00 s")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert clock(seconds) == text
