import json

import pytest

from maya_eval.hypotheses import Hypothesis, HypothesisError, read_hypotheses, write_hypotheses


def test_what_is_written_is_read_again(tmp_path, hypotheses):
    hypotheses[0].extra["domain"] = "news"
    write_hypotheses(tmp_path / "new" / "h.jsonl", hypotheses)
    assert read_hypotheses(tmp_path / "new" / "h.jsonl") == hypotheses


def test_leaderboard_files_are_read_as_they_are(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text(
        '{"audio_filepath": "a.wav", "duration": 1, "text": "x", "pred_text": "y", "noise": 3}\n\n'
    )
    (row,) = read_hypotheses(path, default_lang="hi")
    assert (row.utt_id, row.lang, row.column("noise"), row.column("speaker")) == ("a.wav", "hi", "3", "")


def test_segments_of_one_file_have_ids_of_their_own(tmp_path):
    path = tmp_path / "h.jsonl"
    row = {"audio_filepath": "a.wav", "lang": "hi", "text": "x", "pred_text": "y", "time": 0.5}
    path.write_text("\n".join(json.dumps(row | {"offset": offset}) for offset in (0, 2.5)))
    rows = read_hypotheses(path)
    assert [row.utt_id for row in rows] == ["a.wav", "a.wav#2.5"]
    assert [row.elapsed for row in rows] == [0.5, 0.5]


def test_numbers_for_names_are_taken_as_texts(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text('{"utt_id": 7, "lang": "hi", "text": "x", "pred_text": "y", "speaker": 3}\n')
    (row,) = read_hypotheses(path)
    assert (row.utt_id, row.speaker) == ("7", "3")


def test_a_line_without_an_output_is_empty_if_told(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text('{"utt_id": "1", "lang": "hi", "text": "x", "pred_text": null}\n')
    (row,) = read_hypotheses(path, missing_is_empty=True)
    assert row.pred_text == ""


def test_control_characters_and_markup_are_kept_as_they_are(tmp_path):
    path = tmp_path / "h.jsonl"
    pred = "<script>alert(1)</script> \x00\x1b[2J\u202e"
    write_hypotheses(path, [Hypothesis(utt_id="1", lang="hi", text="a", pred_text=pred)])
    assert read_hypotheses(path)[0].pred_text == pred


GOOD = b'{"utt_id": "1", "lang": "hi", "text": "a", "pred_text": "b"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b'{"utt_id": "2", "lang"', r"h.jsonl:2: not a JSON object"),
        (GOOD + b'{"text": "\xff"}\n', r"h.jsonl:2: not UTF-8 at byte 10"),
        (GOOD + GOOD, r"h.jsonl:2: utt_id '1' stands already on line 1"),
        (GOOD.replace(b'"b"', b"null"), r"h.jsonl:1: `pred_text` is missing; `--missing deletions`"),
        (GOOD.replace(b'"b"', b"5"), r"h.jsonl:1: `pred_text` must be a text, got 5"),
        (GOOD.replace(b"utt_id", b"name"), r"h.jsonl:1: `utt_id` is missing; `audio_filepath` would do"),
        (GOOD.replace(b'"hi"', b'""'), r"h.jsonl:1: `lang` is missing; .*`--lang hi`"),
        (
            GOOD.replace(b"}", b', "duration": "2"}'),
            r"h.jsonl:1: `duration` must be a number of seconds, got '2'",
        ),
        (GOOD.replace(b"}", b', "duration": NaN}'), r"h.jsonl:1: `duration` must be .* got nan"),
        (GOOD.replace(b"}", b', "elapsed": -1}'), r"h.jsonl:1: `elapsed` must be .* got -1"),
        (GOOD.replace(b"}", b', "elapsed": true}'), r"h.jsonl:1: `elapsed` must be .* got True"),
        (GOOD.replace(b'"1"', b'""'), r"h.jsonl:1: `utt_id` must be a text, got ''"),
        (GOOD.replace(b'"b"', b'"\\ud800"'), r"h.jsonl:1: `pred_text` holds half a character"),
        (b"[1]\n", r"h.jsonl:1: one JSON object a line was expected, got list"),
        (b"\n", r"h.jsonl: no hypotheses in it"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, content, message):
    path = tmp_path / "h.jsonl"
    path.write_bytes(content)
    with pytest.raises(HypothesisError, match=message):
        read_hypotheses(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HypothesisError, match=r"nofile: no such file; JSON lines"):
        read_hypotheses(tmp_path / "nofile")
