import pytest
from rich.console import Console

from maya_eval.compare import compare
from maya_eval.gate import Limits, decide
from maya_eval.hypotheses import Hypothesis
from maya_eval.measures import MEASURES, choose
from maya_eval.measures.langid import Identification
from maya_eval.scores import count, score
from maya_eval.summary import clock, parse_summary
from maya_eval.tables import score_table, shown, summary_table
from maya_eval.verdict_tables import comparison_table, confusion_table, measure_table, verdict_table


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


def test_a_name_out_of_a_file_is_neither_markup_nor_control():
    row = Hypothesis(utt_id="1", lang="hi", text="a", pred_text="a", speaker="[bold]\x1b[2Jx[/red]\u202e")
    text = _printed(score_table(score([row], by="speaker"), "speaker"))
    assert "[bold]\ufffd[2Jx[/red]\ufffd" in text
    assert str(shown("")) == "(none)"
    assert str(shown("\u0915\u094d\u200d\u0937")) == "\u0915\u094d\u200d\u0937"


def test_two_profiles_have_no_mean_together(hypotheses):
    rows = [*score(hypotheses, "raw"), *score(hypotheses, "indic-strict-v1")]
    assert _printed(score_table(rows)).count("mean of 3") == 2


@pytest.mark.parametrize("name", MEASURES)
def test_figures_of_a_measure_fit_in_eighty_columns(hypotheses, name):
    text = _printed(measure_table(score(hypotheses, measures=choose([name])), MEASURES[name], "lang"))
    assert f"{name}, profile indic-strict-v1" in text
    assert "\u2026" not in text


def test_a_comparison_shows_refusals_and_differences(hypotheses):
    scored = count(hypotheses)
    few = _printed(comparison_table(compare(scored, scored), "ctc", "llm"))
    assert "10 utterances with speech" in " ".join(few.split())
    enough = _printed(comparison_table(compare(scored, scored, minimum=5), "ctc", "llm"), width=100)
    assert "+0.0 to +0.0" in enough
    assert "not settled" in enough


def test_a_verdict_names_what_failed(hypotheses):
    verdict = decide({"ctc": hypotheses, "llm": hypotheses}, "raw", Limits(max_wer=0.0))
    text = " ".join(_printed(verdict_table(verdict)).split())
    assert "is not tested" in text
    assert "fails: WER" in text


def test_recognised_languages_are_a_table():
    found = Identification()
    for recognised in ("hi", "mr"):
        row = Hypothesis(utt_id="1", lang="hi", text="", pred_text="", extra={"pred_lang": recognised})
        found.add(row)
    text = _printed(confusion_table(found))
    assert "50.0 % right of 2" in text


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
