import jiwer
import pytest

from maya_eval.hypotheses import Hypothesis, write_hypotheses
from maya_eval.measures import choose
from maya_eval.scores import (
    Scorer,
    count,
    macro_mean,
    permute_within_language,
    rows_by,
    score,
    score_file,
)


def _rows(*texts, lang="hi"):
    return [
        Hypothesis(utt_id=str(i), lang=lang, text=text, pred_text=pred)
        for i, (text, pred) in enumerate(texts)
    ]


def test_a_row_a_language_with_corpus_rates(hypotheses):
    rows = score(hypotheses, "raw")
    assert [row.group for row in rows] == ["en", "hi", "ta"]
    for row in rows:
        members = [h for h in hypotheses if h.lang == row.group]
        refs, hyps = [h.text for h in members], [h.pred_text for h in members]
        assert row.wer == pytest.approx(jiwer.wer(refs, hyps))
        assert row.cer == pytest.approx(jiwer.cer(refs, hyps))
        assert row.wer_low <= row.wer <= row.wer_high
        assert (row.utterances, row.seconds) == (10, 20.0)


def test_grouping_by_speaker(hypotheses):
    rows = score(hypotheses, by="speaker")
    assert [(row.group, row.utterances) for row in rows] == [("voice0", 15), ("voice1", 15)]


def test_profiles_change_both_sides():
    rows = _rows(("एक, दो।", "एक दो"))
    assert score(rows, "raw")[0].wer == 1.0
    assert score(rows, "indic-strict-v1")[0].wer == 0.0


def test_the_mean_names_its_parts(hypotheses):
    rows = score(hypotheses)
    mean = macro_mean(rows)
    assert mean.parts == ("en", "hi", "ta")
    assert mean.wer == pytest.approx(sum(row.wer for row in rows) / 3)


def test_an_empty_reference_adds_its_insertions_and_no_rate():
    (row,) = score(_rows(("", "made up")))
    assert (row.wer, row.ins, row.wer_low) == (None, 2, None)
    (row,) = score(_rows(("", "made up"), ("a b", "a b")))
    assert row.wer == 1.0


def test_an_unknown_language_names_the_utterance():
    with pytest.raises(ValueError, match=r"utterance '0': `lang` must be one of .* got 'xx'"):
        score(_rows(("a", "a"), lang="xx"))


def test_json_rows_have_the_public_names(hypotheses):
    row = score(hypotheses)[0].to_dict()
    public = {
        "lang",
        "profile",
        "utterances",
        "words",
        "wer",
        "cer",
        "sub",
        "del",
        "ins",
        "wer_low",
        "wer_high",
    }
    assert public <= set(row)


def test_the_control_moves_every_output_inside_its_language(hypotheses):
    for row in hypotheses:
        row.pred_text = row.utt_id
    control = permute_within_language(hypotheses, seed=3)
    assert all(row.pred_text != row.utt_id for row in control)
    assert all(row.pred_text[:2] == row.lang for row in control)
    assert {row.pred_text for row in control} == {row.utt_id for row in hypotheses}
    assert control == permute_within_language(hypotheses, seed=3)
    assert control != permute_within_language(hypotheses, seed=4)


def test_the_control_avoids_equal_sentences_where_it_can():
    rows = _rows(*((text, text) for text in ["a"] * 3 + ["b"] * 2 + ["c", "d"]))
    assert all(row.text != row.pred_text for row in permute_within_language(rows))


def test_the_control_of_one_utterance_is_refused():
    with pytest.raises(ValueError, match="needs 2 or more utterances a language, 'hi' has 1"):
        permute_within_language(_rows(("a", "a")))


def test_every_row_names_profile_and_version(hypotheses):
    for name in ("raw", "indic-strict-v1", "vistaar"):
        rows = score([row for row in hypotheses if row.lang != "en"], name)
        assert {(row.profile, row.version) for row in rows} == {(name, "1")}


def test_public_names_come_first_and_in_order(hypotheses):
    row = score(hypotheses)[0].to_dict()
    assert list(row)[:11] == [
        "lang",
        "profile",
        "utterances",
        "words",
        "wer",
        "cer",
        "sub",
        "del",
        "ins",
        "wer_low",
        "wer_high",
    ]
    assert (row["wer"] * row["words"], row["ser"]) == (
        pytest.approx(row["sub"] + row["del"] + row["ins"]),
        row["sentence_errors"] / row["utterances"],
    )


def test_clusters_are_counted_beside_code_points():
    (row,) = score(_rows(("क्षत्रिय", "क्षत्रीय")))
    assert (row.cer, row.gcer) == (pytest.approx(1 / 8), pytest.approx(1 / 3))


def test_the_interval_says_what_it_was_drawn_over(hypotheses):
    assert {row.interval for row in score(hypotheses)} == {"speaker"}
    for row in hypotheses:
        row.speaker = None
    assert {row.interval for row in score(hypotheses)} == {"utterance"}


def test_an_empty_reference_is_a_word_for_vistaar():
    (row,) = score(_rows(("।", "")), "vistaar")
    assert (row.words, row.del_, row.wer) == (1, 1, 1.0)


def test_a_language_that_a_profile_has_no_rules_for_has_no_row(hypotheses):
    scorer = Scorer(["raw", "whisper-en"])
    for row in hypotheses:
        scorer.add(row)
    assert [(row.profile, row.lang) for row in scorer.rows()][3:] == [("whisper-en", "en")]
    assert scorer.uncovered == {"whisper-en": {"hi": 10, "ta": 10}}


def test_counts_of_another_profile_are_refused(hypotheses):
    with pytest.raises(ValueError, match="was counted under raw, not indic-strict-v1"):
        rows_by(count(hypotheses, "raw"), "indic-strict-v1")


def test_a_mean_over_two_profiles_is_refused(hypotheses):
    with pytest.raises(ValueError, match="one profile and version, got indic-strict-v1, raw"):
        macro_mean([*score(hypotheses, "raw"), *score(hypotheses)])


def test_a_file_is_scored_as_a_list_is(tmp_path, hypotheses):
    write_hypotheses(tmp_path / "h.jsonl", hypotheses)
    assert score_file(tmp_path / "h.jsonl") == score(hypotheses)


def test_measures_stand_in_the_row(hypotheses):
    row = score(hypotheses, measures=choose(["script", "spacing"]))[0].to_dict()
    assert row["script"]["fidelity"] == 1.0
    assert row["spacing"]["wer"] <= row["wer"]
