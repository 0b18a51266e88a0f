"""Ten ways in which scores went wrong elsewhere, each with what keeps it from happening here."""

import csv
from importlib.resources import files

import jiwer
import pytest
import torch
from torchmetrics.text import WordErrorRate

from maya_eval.compare import suspicious_references
from maya_eval.edits import word_errors
from maya_eval.hypotheses import Hypothesis, read_hypotheses, write_hypotheses
from maya_eval.measures import choose
from maya_eval.metrics import WordErrors
from maya_eval.scores import count, macro_mean, score


def _rows(*pairs, lang="hi"):
    return [
        Hypothesis(utt_id=str(i), lang=lang, text=text, pred_text=pred)
        for i, (text, pred) in enumerate(pairs)
    ]


def test_counters_do_not_stop_where_float32_does():
    theirs = WordErrorRate()
    theirs.total = torch.tensor(float(2**24))
    theirs.update(["a"], ["a"])
    assert theirs.total == 2**24
    ours = WordErrors()
    ours.update(["a"], ["a"], ["0"])
    ours.rows = [*ours.rows, torch.tensor([[1, 0, 0, 0, 2**24]])]
    assert ours.to(torch.bfloat16).set_dtype(torch.float16).compute()["ref"] == 2**24 + 1


def test_the_padding_of_a_distributed_sampler_is_not_counted():
    metric = WordErrors()
    metric.update(["a b", "c d e", "f g h i"], ["a b", "c x e", "f g h j"], ["1", "2", "3"])
    metric.update(["c d e"], ["c x e"], ["2"])
    assert metric.compute()["rate"].item() == pytest.approx(2 / 9)


def test_an_empty_reference_is_neither_infinite_nor_an_error():
    (line,) = score(_rows(("", "made up"), ("", ""), ("a b", "a b")))
    assert (line.wer, line.ins, line.empty_refs, line.utterances) == (1.0, 2, 2, 3)
    (line,) = score(_rows(("", "")))
    assert (line.wer, line.cer, line.gcer, line.ins) == (None, None, None, 0)


def test_reference_and_output_are_not_taken_for_each_other():
    ref, hyp = "a", "a b c"
    assert word_errors(ref, hyp).rate == jiwer.wer(ref, hyp) == 2.0
    assert word_errors(hyp, ref).rate == pytest.approx(2 / 3)
    (line,) = score(_rows((ref, hyp)), "raw")
    metric = WordErrors()
    metric.update(refs=[ref], hyps=[hyp], ids=["0"])
    assert line.wer == metric.compute()["rate"] == 2.0
    with pytest.raises(ValueError, match="one length"):
        metric.update(refs=["a", "b"], hyps=["a"], ids=["1", "2"])


def test_the_rate_of_a_corpus_is_no_mean_of_rates():
    (line,) = score(_rows(("a", "b"), ("a b c d e f g h i", "a b c d e f g h i")))
    assert line.wer == pytest.approx(0.1)
    rows = score([*_rows(("a", "b")), Hypothesis(utt_id="t", lang="ta", text="a b", pred_text="a b")])
    mean = macro_mean(rows)
    assert (mean.wer, mean.parts) == (0.5, ("hi", "ta"))


def test_a_no_break_space_parts_words():
    assert jiwer.wer("a\u00a0b", "a b") > 0
    assert all(score(_rows(("a\u00a0b", "a b")), name)[0].wer == 0 for name in ("raw", "indic-strict-v1"))


def test_raw_texts_are_kept_so_that_they_can_be_scored_again(tmp_path):
    rows = _rows(("आज, Monday है।", "आज monday है"))
    rates = [score(rows, name)[0].wer for name in ("raw", "indic-strict-v1")]
    write_hypotheses(tmp_path / "h.jsonl", rows)
    again = read_hypotheses(tmp_path / "h.jsonl")
    assert again[0].text == "आज, Monday है।"
    assert [score(again, name)[0].wer for name in ("raw", "indic-strict-v1")] == rates == [1.0, 0.0]


def test_an_output_in_another_script_is_told_from_one_that_is_wrong():
    rows = _rows(("सोलह", "Sola"), ("निळा", "Nuraa"))
    (line,) = score(rows, measures=choose(["script"]))
    assert (line.wer, line.measures["script"]["fidelity"]) == (1.0, 0.0)
    assert line.measures["script"]["utterances_in_another_script"] == 2


def test_references_that_two_systems_contradict_alike_are_listed():
    first = _rows(("a b c", "a b"), ("d e", "d e"), ("f", "g"), ("h", ""))
    second = _rows(("a b c", "a b"), ("d e", "d e"), ("f", "x"), ("h", ""))
    found = suspicious_references(count(first), count(second))
    assert [item.hypothesis.utt_id for item in found] == ["0"]


def test_published_figures_that_contradict_each_other_are_marked():
    text = files("maya_eval.report").joinpath("baselines.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["system"] == "IndicWhisper"]
    doubtful = [
        row
        for row in rows
        if row["language"] == "hi" and row["benchmark"].endswith(("CommonVoice", "FLEURS"))
    ]
    assert len(doubtful) >= 2
    assert all("CONFLICT" in row["note"] for row in doubtful)
