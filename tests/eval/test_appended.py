import json

import pytest

from maya_eval.appended import TAIL, Appended
from maya_eval.hypotheses import Hypothesis, read_hypotheses
from maya_eval.worst import Failing, worst_first

ORIGIN = {"system": "s", "model": "m", "fingerprint": "f"}


def row(utt_id, pred="x", **origin):
    return Hypothesis(utt_id=utt_id, lang="hi", text="क", pred_text=pred, extra=ORIGIN | origin)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "h.jsonl"


def written(path, *rows):
    with Appended(path, ORIGIN) as file:
        file.append(rows)
    return path.read_bytes()


def test_rows_are_appended_to_what_is_there(path):
    first = written(path, row("a"))
    assert written(path, row("b"), row("c")).startswith(first)
    assert [item.utt_id for item in read_hypotheses(path)] == ["a", "b", "c"]
    assert Appended(path, ORIGIN).holds("b", "क")
    assert not Appended(path, ORIGIN).holds("d", "क")


@pytest.mark.parametrize("length", [10, 3 * TAIL])
@pytest.mark.parametrize("before", [0, 2])
def test_a_torn_last_line_of_any_length_is_cut_off(path, length, before):
    whole = written(path, *(row(str(i)) for i in range(before)))
    with path.open("ab") as file:
        file.write(('{"utt_id": "z", "text": "' + "क" * length).encode()[:-1])
    assert len(Appended(path, ORIGIN).rows) == before
    assert path.read_bytes() == whole


def test_a_last_line_without_its_end_is_kept_and_ended(path):
    whole = written(path, row("a"), row("b", "y" * 3 * TAIL))
    path.write_bytes(whole.rstrip(b"\n"))
    assert set(Appended(path, ORIGIN).rows) == {"a", "b"}
    assert path.read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_named_not_dropped(path):
    written(path, row("a"))
    path.write_bytes(b'{"utt_id": \n' + path.read_bytes())
    with pytest.raises(ValueError, match=r"h\.jsonl:1: not a JSON object"):
        Appended(path, ORIGIN)


def test_lines_of_other_weights_are_set_aside_whole(path, capsys):
    whole = written(path, row("a"))
    with Appended(path, ORIGIN | {"fingerprint": "g"}) as file:
        file.append([row("b", fingerprint="g")])
    assert [item.utt_id for item in read_hypotheses(path)] == ["b"]
    assert path.with_name("h.jsonl.f.old").read_bytes() == whole
    assert "kept as" in capsys.readouterr().err


def test_appending_needs_the_open_file(path):
    with pytest.raises(RuntimeError, match="inside `with` only"):
        Appended(path, ORIGIN).append([row("a")])


def test_what_is_appended_is_on_the_disk_at_once(path, monkeypatch):
    synced = []
    monkeypatch.setattr("maya_eval.appended.os.fsync", lambda _: synced.append(path.read_text()))
    with Appended(path, ORIGIN) as file:
        file.append([row("a")])
    assert [json.loads(text)["utt_id"] for text in synced] == ["a"]


def test_the_worst_are_taken_from_the_languages_in_turn():
    items = [
        Failing(f"{lang}{i}", lang, errors, 5) for lang in ("ta", "hi") for i, errors in enumerate((1, 3, 0))
    ]
    assert worst_first(items) == ["hi1", "ta1", "hi0", "ta0"]
    assert worst_first([Failing("long", "hi", 2, 9), Failing("short", "hi", 2, 2)]) == ["short", "long"]
