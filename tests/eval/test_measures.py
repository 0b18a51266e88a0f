import json
import random

import pytest

from maya_eval.counting import count_one
from maya_eval.hypotheses import Hypothesis
from maya_eval.measures import choose
from maya_eval.measures.codeswitch import kind, mixing_index
from maya_eval.measures.hallucination import repeats
from maya_eval.measures.script import in_script
from maya_eval.measures.spacing import space_insensitive_errors
from maya_eval.measures.variants import fewest_errors, read_lattice
from maya_eval.normalize import profile
from maya_eval.scores import score


def _row(text, pred, lang="hi", utt_id="u", **columns):
    return Hypothesis(utt_id=utt_id, lang=lang, text=text, pred_text=pred, **columns)


def _figures(name, *rows, **options):
    (line,) = score(rows, measures=choose([name], **options))
    return line.measures[name]


def test_script_fidelity_is_the_share_of_letters_in_the_right_script():
    assert in_script("सोलह 16!", "hi") == (4, 4)
    assert in_script("Sola सोलह", "hi") == (4, 8)
    assert in_script("Sola", "en") == (4, 4)
    figures = _figures("script", _row("सोलह", "Sola"), _row("निळा", "निळा", utt_id="v"))
    assert figures == {"fidelity": 0.5, "reference_fidelity": 1.0, "utterances_in_another_script": 1}


def test_an_output_without_letters_has_no_script():
    assert _figures("script", _row("सोलह", "16"))["fidelity"] is None


@pytest.mark.parametrize(
    ("word", "lang", "expected"),
    [
        ("घर", "hi", "native"),
        ("train", "hi", "latin"),
        ("trainें", "hi", "native"),
        ("12", "hi", "neutral"),
        ("மழை", "hi", "other"),
        ("train", "en", "native"),
    ],
)
def test_words_are_of_a_kind(word, lang, expected):
    assert kind(word, lang) == expected


def test_the_mixing_index_leaves_digits_out():
    assert mixing_index("मेरी train 12 बजे है", "hi") == pytest.approx(25.0)
    assert mixing_index("मेरी गाड़ी", "hi") == 0.0
    assert mixing_index("12", "hi") == 0.0
    assert mixing_index("", "hi") == 0.0


def test_errors_of_the_kinds_add_up_to_all():
    rng = random.Random(1)
    words = ["घर", "train", "12", "மழை", "office", "है"]
    rows = [
        _row(" ".join(rng.choices(words, k=5)), " ".join(rng.choices(words, k=5)), utt_id=str(i))
        for i in range(40)
    ]
    (line,) = score(rows, measures=choose(["codeswitch"]))
    parts = line.measures["codeswitch"]
    assert line.sub + line.del_ + line.ins == sum(
        parts[name] for name in ("latin_errors", "native_errors", "other_errors")
    )
    assert line.words == parts["latin_words"] + parts["native_words"] + parts["other_words"]


def test_latin_and_native_words_are_scored_apart():
    figures = _figures("codeswitch", _row("मेरी train लेट है", "मेरी ट्रेन लेट हो"))
    assert (figures["latin_wer"], figures["native_wer"]) == (1.0, pytest.approx(1 / 3))
    assert figures["mixed_utterances"] == 1
    assert figures["cmi_of_mixed"] == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("", 0),
        ("a b c", 1),
        ("a a a a", 4),
        ("x a b a b a b a b", 4),
        ("a b c a b c a b", 2),
        ("a a b a a b", 2),
    ],
)
def test_repeats_of_up_to_six_words_are_found(text, most):
    assert repeats(text.split()) == most


def test_silence_and_loops_are_told_from_speech():
    rows = [
        _row("", "लग़ " * 30, utt_id="silence", duration=10.0),
        _row("", "", utt_id="quiet", duration=20.0),
        _row("आज मौसम अच्छा है", "आज " + "मौसम " * 20, utt_id="loop", duration=3.0),
        _row("आज मौसम अच्छा है", "आज मौसम अच्छा है", utt_id="fine", duration=3.0),
        _row("हाँ", "हाँ जी", utt_id="short", duration=1.0),
        _row("आज मौसम अच्छा", "आज मौसम अच्छा है और कल भी", utt_id="fast", duration=0.3),
    ]
    assert _figures("hallucination", *rows) == {
        "non_speech_utterances": 2,
        "non_speech_filled": 0.5,
        "non_speech_words_a_minute": 60.0,
        "speech_utterances": 4,
        "repeated": 0.25,
        "stretched": 0.25,
        "hurried": 0.25,
        "flagged": 0.5,
    }


def test_a_repetition_that_was_said_is_none_made_up():
    assert _figures("hallucination", _row("नहीं " * 5, "नहीं " * 5))["repeated"] == 0.0


@pytest.mark.parametrize(
    ("ref", "hyp", "errors"),
    [
        ("कर के आया", "करके आया", 0),
        ("करके आया", "कर के आया", 0),
        ("a bc d", "ab c d", 0),
        ("a b c", "abc", 0),
        ("a b c", "abx", 3),
        ("a b c", "ab x", 1),
        ("", "a b", 2),
        ("a b", "", 2),
        ("ab a bc", "ab c", 1),
    ],
)
def test_spaces_alone_are_no_errors(ref, hyp, errors):
    assert space_insensitive_errors(ref.split(), hyp.split()) == errors


def test_space_insensitive_errors_equal_brute_force():
    rng = random.Random(2)

    def brute(ref, hyp):
        if not ref or not hyp:
            return len(ref) + len(hyp)
        best = 1 + min(brute(ref[1:], hyp), brute(ref, hyp[1:]), brute(ref[1:], hyp[1:]))
        for i in range(1, len(ref) + 1):
            for j in range(1, len(hyp) + 1):
                if "".join(ref[:i]) == "".join(hyp[:j]):
                    best = min(best, brute(ref[i:], hyp[j:]))
        return best

    for _ in range(60):
        ref, hyp = (
            ["".join(rng.choices("ab", k=rng.randint(1, 2))) for _ in range(rng.randint(0, 4))] for _ in "ab"
        )
        assert space_insensitive_errors(ref, hyp) == brute(ref, hyp)


def test_space_insensitive_errors_are_the_same_by_groups_and_by_the_table_of_all_words(monkeypatch):
    rng = random.Random(2)

    def text():
        return ["".join(rng.choices("ab", k=rng.randint(1, 3))) for _ in range(rng.randint(0, 12))]

    pairs = [(text(), text()) for _ in range(500)]
    by_groups = [space_insensitive_errors(*pair) for pair in pairs]
    monkeypatch.setattr("maya_eval.measures.spacing.MOST_GROUPS", -1)
    assert [space_insensitive_errors(*pair) for pair in pairs] == by_groups


def test_space_insensitive_wer_stands_beside_the_strict_one():
    (line,) = score([_row("कर के आया", "करके आया")], measures=choose(["spacing"]))
    assert (line.wer, line.measures["spacing"]["wer"]) == (pytest.approx(2 / 3), 0.0)


@pytest.fixture
def lattice(tmp_path):
    path = tmp_path / "lattice.jsonl"
    lines = [
        {"lang": "hi", "variants": ["टेक्नोलॉजी", "टेक्नॉलजी", "technology"]},
        {"variants": ["कर के", "करके"]},
        {"lang": "ta", "variants": ["घर", "मकान"]},
        {"utt_id": "own", "lattice": [["मेरा", "मेरी"], ["घर", "बड़ा घर"], ["", "जी"]]},
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "pred", "utt_id", "errors"),
    [
        ("नई टेक्नोलॉजी है", "नई Technology है", "u", 0),
        ("नई technology है", "नई टेक्नॉलजी थी", "u", 1),
        ("वह करके आया", "वह कर के आया", "u", 0),
        ("घर", "मकान", "u", 1),
        ("मेरा घर", "मेरी बड़ा घर जी", "own", 0),
        ("मेरा घर", "घर", "own", 1),
        ("मेरा घर", "मेरा घर", "own", 0),
    ],
)
def test_accepted_spellings_match_at_no_cost(lattice, text, pred, utt_id, errors):
    row = _row(text, pred, utt_id=utt_id)
    (line,) = score([row], measures=choose(["variants"], lattice))
    assert line.measures["variants"]["errors"] == errors
    assert line.measures["variants"]["errors"] <= line.sub + line.del_ + line.ins


def test_a_lattice_of_single_words_is_the_edit_distance():
    rng = random.Random(3)
    normalize = profile("raw")
    for _ in range(50):
        row = _row(*(" ".join(rng.choices("abc", k=rng.randint(0, 6))) for _ in "ab"))
        item = count_one(row, normalize)
        ref = item.ref.split()
        edges = {i: [(i + 1, (word,))] for i, word in enumerate(ref)}
        assert fewest_errors(edges, len(ref), item.hyp.split()) == item.words.errors


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"variants": ["a"]}', r"l.jsonl:1: `variants` \(two or more texts\)"),
        ('{"utt_id": "u", "lattice": [[1]]}', "l.jsonl:1: `variants`"),
        ('{"variants"', "l.jsonl:1: not a JSON object"),
        ("", "no accepted spellings"),
    ],
)
def test_a_bad_lattice_is_named(tmp_path, line, message):
    path = tmp_path / "l.jsonl"
    path.write_text(line)
    with pytest.raises(ValueError, match=message):
        read_lattice(path)


def test_measures_are_chosen_by_name(lattice):
    assert [measure.name for measure in choose(["all"])] == [
        "script",
        "codeswitch",
        "hallucination",
        "spacing",
    ]
    assert [measure.name for measure in choose(["all"], lattice)][-1] == "variants"
    with pytest.raises(ValueError, match="no measure named 'speling'"):
        choose(["speling"])
    with pytest.raises(ValueError, match="needs a file of accepted spellings"):
        choose(["variants"])
