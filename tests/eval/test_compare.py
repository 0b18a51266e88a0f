import random
from dataclasses import replace

import pytest

from maya_eval.compare import compare
from maya_eval.hypotheses import Hypothesis
from maya_eval.scores import count

WORDS = ("आज", "मौसम", "बहुत", "अच्छा", "है", "कल", "बारिश", "होगी")


def _system(wrong, langs=("hi",), size=60, seed=0, speakers=0):
    """Utterances of six words of which each is wrong with probability `wrong`."""
    rows = []
    for lang in langs:
        texts, errors = random.Random(f"{lang}"), random.Random(f"{lang}{seed}")
        for i in range(size):
            ref = texts.choices(WORDS, k=6)
            hyp = ["गलत" if errors.random() < wrong else word for word in ref]
            speaker = f"s{i % speakers}" if speakers else None
            row = {"utt_id": f"{lang}{i}", "lang": lang, "text": " ".join(ref), "pred_text": " ".join(hyp)}
            rows.append(Hypothesis(**row, speaker=speaker))
    return count(rows)


def test_a_clear_gain_is_called_better():
    (row,) = compare(_system(0.4), _system(0.1, seed=1))
    assert row.better == "second"
    assert row.difference == pytest.approx(row.second_wer - row.first_wer)
    assert row.low < row.difference < row.high < 0
    assert row.segments >= 30
    assert max(row.p_bootstrap, row.p_matched) < 0.001
    (row,) = compare(_system(0.1, seed=1), _system(0.4))
    assert row.better == "first"


def test_equal_systems_are_not_settled():
    (row,) = compare(_system(0.2), _system(0.2))
    assert (row.better, row.difference, row.p_bootstrap) == (None, 0.0, 1.0)


def test_p_values_are_adjusted_over_the_languages():
    langs = ("hi", "mr", "sa")
    rows = compare(_system(0.22, langs), _system(0.17, langs, seed=1))
    for row in rows:
        assert row.p_bootstrap <= row.p_bootstrap_holm <= 1.0
        assert row.p_matched <= row.p_matched_holm <= 1.0
    assert max(row.p_bootstrap_holm / row.p_bootstrap for row in rows) > 1.5


def test_speakers_are_drawn_where_there_are_enough():
    drawn = [compare(_system(0.3, speakers=n), _system(0.2, seed=1, speakers=n))[0].drawn for n in (0, 2, 6)]
    assert drawn == ["utterance", "utterance", "speaker"]


def test_too_few_utterances_are_refused():
    (row,) = compare(_system(0.4, size=29), _system(0.1, size=29, seed=1))
    assert row.refused == "29 utterances with speech, a test needs 30"
    assert (row.better, row.p_bootstrap, row.p_matched) == (None, None, None)
    assert row.first_wer > row.second_wer
    assert compare(_system(0.4, size=29), _system(0.1, size=29, seed=1), minimum=20)[0].better == "second"


def test_two_profiles_in_one_comparison_are_refused():
    first, second = _system(0.2), [replace(item, profile="raw") for item in _system(0.2)]
    with pytest.raises(ValueError, match="a comparison has one profile, got indic-strict-v1, raw"):
        compare(first, second)


def test_other_utterances_or_references_are_refused():
    first = _system(0.2)
    with pytest.raises(ValueError, match="got 60 and 59"):
        compare(first, first[1:])
    with pytest.raises(ValueError, match="in one order, got 'hi0' beside 'hi1'"):
        compare(first, [first[1], first[0], *first[2:]])
    with pytest.raises(ValueError, match=r"utterance 'hi0' has two references, .* and 'x'"):
        compare(first, [replace(first[0], ref="x"), *first[1:]])


@pytest.mark.parametrize(("option", "value"), [("minimum", 1), ("alpha", 0), ("alpha", 1.5)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"`{option}` must"):
        compare(_system(0.2), _system(0.2), **{option: value})
