import pytest

from maya_eval.hypotheses import HypothesisError, read_hypotheses, write_hypotheses


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


GOOD = b'{"utt_id": "1", "lang": "hi", "text": "a", "pred_text": "b"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b'{"utt_id": "2", "lang"', r"h.jsonl:2: not a JSON object"),
        (GOOD + b'{"text": "\xff"}\n', r"h.jsonl:2: not UTF-8 at byte 10"),
        (GOOD + GOOD, r"h.jsonl:2: utt_id '1' stands already on line 1"),
        (GOOD.replace(b'"b"', b"null"), r"h.jsonl:1: `pred_text` must be a text, got None"),
        (GOOD.replace(b'"hi"', b'""'), r"h.jsonl:1: `lang` must be a text"),
        (
            GOOD.replace(b"}", b', "duration": "2"}'),
            r"h.jsonl:1: `duration` must be a number of seconds, got '2'",
        ),
        (b"[1]\n", r"h.jsonl:1: a JSON object was expected, got list"),
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
