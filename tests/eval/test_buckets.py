import pytest

from maya_eval.buckets import EDGES, Grouping, bucket_name
from maya_eval.hypotheses import Hypothesis
from maya_eval.scores import score


def _row(utt_id, text="a b", lang="hi", **columns):
    known = {name: columns.pop(name) for name in ("duration", "speaker") if name in columns}
    return Hypothesis(utt_id=utt_id, lang=lang, text=text, pred_text=text, extra=columns, **known)


def test_durations_are_parted_in_seconds():
    rows = [_row(str(d), duration=d) for d in (0.5, 2.0, 4.9, 12.0, 31.0)] + [_row("none")]
    lines = score(rows, by="duration")
    assert [(line.group, line.utterances) for line in lines] == [
        ("0-2", 1),
        ("2-5", 2),
        ("10-20", 1),
        ("30-", 1),
        ("", 1),
    ]


def test_two_columns_make_a_row_for_each_pair():
    rows = [_row("1", duration=1.0), _row("2", duration=7.0), _row("3", lang="ta", duration=7.0)]
    lines = score(rows, by="lang,duration")
    assert [line.group for line in lines] == ["hi / 0-2", "hi / 5-10", "ta / 5-10"]
    assert [line.lang for line in lines] == ["hi", "hi", "ta"]
    public = lines[0].to_dict()
    assert (public["lang"], public["duration"]) == ("hi", "0-2")


def test_words_and_mixing_are_taken_from_the_reference():
    rows = [_row("1", "घर"), _row("2", "मेरी train late है")]
    assert [line.group for line in score(rows, by="words")] == ["1-3", "3-6"]
    assert [line.group for line in score(rows, by="cmi")] == ["0", "30-"]


def test_any_column_is_taken_as_it_stands_or_parted_by_edges():
    rows = [_row(str(i), snr=i, scenario="call") for i in (3, 12, 25)]
    assert [line.group for line in score(rows, by="snr")] == ["12", "25", "3"]
    assert [line.group for line in score(rows, by="snr", edges={"snr": (10, 20)})] == ["0-10", "10-20", "20-"]
    assert [line.group for line in score(rows, by="scenario")] == ["call"]


def test_a_text_cannot_be_parted_by_edges():
    with pytest.raises(ValueError, match="'1': scenario is parted by edges, so it must be a number"):
        score([_row("1", scenario="call")], by="scenario", edges={"scenario": (1.0,)})


@pytest.mark.parametrize(
    ("columns", "edges", "message"),
    [
        (",", {}, "one or more columns"),
        ("lang", {"snr": (1.0,)}, "edges are given for 'snr'"),
        ("snr", {"snr": (2.0, 1.0)}, "edges must rise, got snr=2,1"),
    ],
)
def test_a_grouping_that_cannot_be_is_refused(columns, edges, message):
    with pytest.raises(ValueError, match=message):
        Grouping.parse(columns, edges)


def test_buckets_are_named_by_their_edges():
    assert [bucket_name("duration", EDGES["duration"], rank) for rank in (0, 1, 5)] == ["0-2", "2-5", "30-"]
    assert bucket_name("snr", (-5.0, 5.0), 0) == "--5"
