import random

import pytest

from maya_eval.gate import Limits, decide
from maya_eval.hypotheses import Hypothesis

WORDS = ("आज", "मौसम", "बहुत", "अच्छा", "है", "कल", "बारिश", "होगी")
PROFILE = "indic-strict-v1"


def _head(rates, seed, size=80, loops=0):
    """Hypotheses of six words; `rates` has the share of wrong ones by language."""
    rows = []
    for lang, wrong in rates.items():
        texts, errors = random.Random(lang), random.Random(f"{lang}{seed}")
        for i in range(size):
            ref = texts.choices(WORDS, k=6)
            hyp = ["गलत" if errors.random() < wrong else word for word in ref]
            hyp = ["है"] * 12 if i < loops else hyp
            row = {"utt_id": f"{lang}{i}", "lang": lang, "text": " ".join(ref), "pred_text": " ".join(hyp)}
            rows.append(Hypothesis(**row))
    return rows


@pytest.fixture
def heads():
    return {
        "ctc": _head({"hi": 0.4, "mr": 0.2, "sa": 0.4}, 0),
        "rnnt": _head({"hi": 0.25, "mr": 0.2, "sa": 0.4}, 1),
        "llm": _head({"hi": 0.08, "mr": 0.2, "sa": 0.15}, 2),
    }


def test_a_dearer_head_ships_only_where_it_wins(heads):
    verdict = decide(heads, PROFILE)
    assert {row.lang: row.ship for row in verdict.decisions} == {"hi": "llm", "mr": "ctc", "sa": "llm"}
    why = {row.lang: row.why for row in verdict.decisions}
    assert "llm makes" in why["hi"]
    assert "points fewer errors than rnnt (p" in why["hi"]
    assert "llm is not shown to be better than ctc" in why["mr"]
    assert "rnnt is not shown to be better than ctc" in why["sa"]
    assert verdict.passed


def test_every_pair_of_heads_is_tested(heads):
    tests = decide(heads, PROFILE).decisions[0].tests
    assert [(row["first"], row["second"]) for row in tests] == [
        ("ctc", "rnnt"),
        ("ctc", "llm"),
        ("rnnt", "llm"),
    ]
    assert all(row["p_bootstrap_holm"] is not None for row in tests)


def test_limits_decide_whether_a_language_passes(heads):
    verdict = decide(heads, PROFILE, Limits(max_wer=0.17))
    assert {row.lang: row.passed for row in verdict.decisions} == {"hi": True, "mr": False, "sa": True}
    assert "is over 17 %" in verdict.decisions[1].failures[0]
    assert not verdict.passed
    verdict = decide(heads, PROFILE, Limits(require="llm"))
    assert [row.failures for row in verdict.decisions if row.lang == "mr"] == [["ships ctc, llm is required"]]


def test_what_is_made_up_can_stop_a_head(heads):
    heads["llm"] = _head({"hi": 0.0, "mr": 0.2, "sa": 0.15}, 2, loops=1)
    (row, *_) = decide(heads, PROFILE, Limits(max_hallucination=0.01)).decisions
    assert (row.ship, row.hallucination["llm"]) == ("llm", 1 / 80)
    assert row.failures == ["1.2 % made up is over 1 %"]


def test_too_few_utterances_ship_the_cheapest_head_and_say_so():
    heads = {"ctc": _head({"hi": 0.9}, 0, size=10), "llm": _head({"hi": 0.0}, 1, size=10)}
    (row,) = decide(heads, PROFILE).decisions
    assert row.ship == "ctc"
    assert row.why == "llm against ctc is not tested: 10 utterances with speech, a test needs 30"


def test_a_head_that_lacks_an_utterance_is_refused_or_charged(heads):
    heads["llm"] = heads["llm"][:-60]
    with pytest.raises(ValueError, match="llm: 60 utterances are missing"):
        decide(heads, PROFILE)
    verdict = decide(heads, PROFILE, missing="deletions")
    assert verdict.decisions[-1].wer["llm"] > 0.7


@pytest.mark.parametrize("names", [["llm"], ["llm", "tdt"], []])
def test_a_gate_needs_two_known_heads(heads, names):
    with pytest.raises(ValueError, match="two or more of ctc, rnnt, llm"):
        decide({name: heads.get(name, []) for name in names}, PROFILE)


def test_a_required_head_must_be_there(heads):
    del heads["llm"]
    with pytest.raises(ValueError, match="'llm' is required, but only ctc, rnnt were given"):
        decide(heads, PROFILE, Limits(require="llm"))
