import pytest

from maya_eval.hypotheses import Hypothesis, write_hypotheses
from maya_eval.references import completed, level, matched, read_references


def _row(utt_id, pred="x", lang="hi", **columns):
    return Hypothesis(utt_id=utt_id, lang=lang, text=f"ref {utt_id}", pred_text=pred, **columns)


@pytest.fixture
def references(tmp_path):
    write_hypotheses(
        tmp_path / "refs.jsonl", [_row(i, "", speaker="s", extra={"scenario": "call"}) for i in "abc"]
    )
    return read_references(tmp_path / "refs.jsonl")


def test_a_manifest_without_outputs_is_a_reference_file(tmp_path):
    (tmp_path / "m.jsonl").write_text(
        '{"audio_filepath": "a.wav", "text": "x", "lang": "hi", "duration": 2}\n'
    )
    assert read_references(tmp_path / "m.jsonl")["a.wav"].duration == 2


def test_missing_utterances_are_refused_with_the_first_of_them(references):
    with pytest.raises(ValueError, match=r"h.jsonl: 2 utterances are missing .* the first is 'b'"):
        list(completed([_row("a")], references, "refuse", "h.jsonl"))


def test_missing_utterances_count_as_empty_outputs_if_told(references):
    rows = list(completed([_row("b", "y")], references, "deletions", "h.jsonl"))
    assert [(row.utt_id, row.pred_text) for row in rows] == [("b", "y"), ("a", ""), ("c", "")]
    assert {row.column("scenario") for row in rows} == {"call"}
    assert {row.speaker for row in rows} == {"s"}


def test_the_text_of_the_references_is_what_counts(references):
    other = Hypothesis(utt_id="a", lang="und", text="", pred_text="y", elapsed=0.5)
    row = next(completed([other], references, "deletions", "h.jsonl"))
    assert (row.lang, row.text, row.pred_text, row.elapsed) == ("hi", "ref a", "y", 0.5)


def test_an_utterance_that_was_not_asked_for_is_refused(references):
    with pytest.raises(ValueError, match="utterance 'z' is not among the references"):
        list(completed([_row("z")], references, "deletions", "h.jsonl"))


def test_systems_are_matched_by_id_in_one_order():
    found = matched({"a": [_row("1"), _row("2")], "b": [_row("2", "p"), _row("1", "q")]})
    assert [row.pred_text for row in found["b"]] == ["q", "p"]


def test_an_utterance_that_one_system_lacks_is_refused_or_empty():
    systems = {"a": [_row("1"), _row("2")], "b": [_row("3", "p")]}
    with pytest.raises(ValueError, match="a: 1 utterance is missing that another file has, the first is '3'"):
        matched(systems)
    found = matched(systems, "deletions")
    assert [row.pred_text for row in found["a"]] == ["x", "x", ""]
    assert [row.pred_text for row in found["b"]] == ["", "", "p"]


def test_one_utterance_has_one_language():
    with pytest.raises(ValueError, match="b: utterance '1' is ta, elsewhere hi"):
        matched({"a": [_row("1")], "b": [_row("1", lang="ta")]})


def test_systems_of_a_page_have_the_same_utterances_where_they_share_a_set():
    first = [
        _row("1", extra={"benchmark": "A"}),
        _row("2", extra={"benchmark": "A"}),
        _row("3", lang="ta"),
        _row("4", extra={"benchmark": "B"}),
    ]
    second = [_row("1", extra={"benchmark": "A"}), _row("5", extra={"benchmark": "C"})]
    assert level({"x": first}, "refuse") == {"x": first}
    with pytest.raises(
        ValueError, match=r"^y: 1 utterance is missing that another file has, the first is '2'"
    ):
        level({"x": first, "y": second}, "refuse")
    found = level({"x": first, "y": second}, "deletions")
    assert found["x"] == first
    assert [(row.utt_id, row.pred_text) for row in found["y"]] == [("1", "x"), ("5", "x"), ("2", "")]
