import base64
import gzip
import json
import re
import wave
from html.parser import HTMLParser

import pytest

from maya_eval.hypotheses import Hypothesis
from maya_eval.report import Page, render, render_page
from maya_eval.report.rows import CELL, ROW, gather
from maya_eval.report.scored_run import ScoredRun
from maya_eval.report.sound import choose_sound
from maya_eval.scores import count

ANCHORS = ["board", "scores", "bars", "speed", "beside", "listen", "voices", "errors", "utterances"]


class _Checker(HTMLParser):
    """Holds that every element is closed in its place, and collects what the page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.sections, self.texts, self.scripts = [], [], [], [], 0

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "input"}:
            self.open.append(tag)
        self.scripts += tag == "script"
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        self.sections += [value for name, value in attrs if name == "id" and tag == "section"]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag != "input":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def checked(page):
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def scored(**systems):
    return ScoredRun({name: count(rows) for name, rows in systems.items()})


def unpacked(page):
    """Header and rows of the block in the page."""
    block = re.search(r'<script type="text/plain" id="rows">([^<]*)</script>', page).group(1)
    head, *rows = gzip.decompress(base64.b64decode(block)).decode().split(ROW)
    return json.loads(head), [row.split(CELL) for row in rows]


def one(text, pred, lang="hi", utt_id="1", **more):
    return Hypothesis(utt_id=utt_id, lang=lang, text=text, pred_text=pred, **more)


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "hi.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 160)
    return {"hi": path}


def test_the_whole_page_is_well_formed_and_needs_no_network(summary, hypotheses, samples):
    hyps = {"llm": hypotheses, "ctc": hypotheses}
    page = render(summary, hyps, samples, sample_ids={"hi": "hi-3"}, statement="One synthesiser only.")
    checker = checked(page)
    assert checker.sections == [*ANCHORS, "time", "versions"]
    assert all(source.startswith("data:audio/wav;base64,") for source in checker.sources)
    assert len(checker.sources) == 1
    assert not re.search(r"(src|href)=.http|url\(|@import|fetch\(|XMLHttp|import\(", page)
    assert "default-src 'none'" in page
    assert "One synthesiser only." in checker.texts
    assert "indic-strict-v1, version" in page
    assert "हिन्दी" in page


def test_a_summary_alone_makes_a_page(summary):
    assert checked(render(summary)).sections == ["board", "scores", "bars", "speed", "time", "versions"]


def test_hypotheses_alone_make_a_page(hypotheses):
    page = render(None, {"mine": hypotheses})
    assert "board" in checked(page).sections
    assert "mean of 3 languages" in page


def test_markup_in_texts_is_escaped(summary):
    evil = "<script>alert(1)</script>&\"'"
    row = one("a b", "a &lt;b", lang="en", utt_id=evil, speaker=evil, extra={"benchmark": evil})
    other = one("a b", "c &lt;b", lang="en", utt_id="2", speaker="b", extra={"benchmark": evil})
    page = render(None, {evil: [row, other]}, title=evil, statement=evil, profile="raw")
    checker = checked(page)
    assert "<script>alert" not in page
    assert checker.scripts == 2  # the block of rows and the code of the page


def test_no_mean_stands_without_its_rows(hypotheses):
    page = render(None, {"mine": hypotheses})
    board = re.search(r'<section id="board">.*?</section>', page, re.DOTALL).group()
    cells = [float(value) for value in re.findall(r'<td [^>]*class="rate wer[^>]*>([\d.]+)</td>', board)]
    assert len(cells) == 4  # three languages and their mean
    assert cells[3] == pytest.approx(sum(cells[:3]) / 3, abs=0.06)


def test_the_block_holds_every_utterance_with_its_alignment():
    rows = [one("एक दो तीन चार", "शून्य एक दस तीन", speaker="v", duration=1.5), one("क ख।", "क ख", utt_id="2")]
    head, cells = unpacked(render(None, {"ctc": rows, "b": rows[:1]}))
    assert head["systems"] == ["CTC", "b"]
    assert head["lang"] == {"names": ["hi"], "of": [0, 0]}
    assert head["errors"] == [[3, 0], [3, None]]
    assert cells[0] == [
        *("1", "", "एक दो तीन चार", ""),
        *("शून्य एक दस तीन", "", "i1=1s1=1d1") * 2,
    ]
    assert cells[1] == ["2", "", "क ख", "क ख।", "क ख", "", "=2", "", "", ""]


def test_control_characters_become_pictures_and_break_nothing():
    rows = [one("a\x1eb", "a\x1d\x1eb\x00\x07", lang="en"), one("", "क", utt_id="2")]
    _, cells = unpacked(render(None, {"x": rows}, profile="raw"))
    assert cells[0][2:6] == ["a b", "a\u241eb", "a b\u2400\u2407", "a\u241d\u241eb\u2400\u2407"]
    assert cells[1][2:5] == ["", "", "क"]


def test_two_references_for_one_utterance_are_refused():
    with pytest.raises(ValueError, match="utterance '1' has two references: 'एक' and 'दो'"):
        render(None, {"a": [one("एक", "एक")], "b": [one("दो", "दो")]})


def test_frequent_errors_are_counted_by_language():
    rows = [one("घर बड़ा है", "गर बड़ा हे है", utt_id=str(i)) for i in range(3)]
    rows.append(one("the end", "the", lang="en", utt_id="e"))
    page = render(None, {"x": rows})
    errors = re.search(r'<section id="errors">.*?</section>', page, re.DOTALL).group()
    assert "<b>घर</b> &rarr; <mark>गर</mark>" in errors
    assert "3&times;" in errors
    assert "<ins>हे</ins>" in errors
    assert "end" not in errors  # once only is no pattern


def test_published_results_stand_beside_ours_on_the_same_benchmark():
    rows = [
        one("क ख ग घ", "क ख ग", lang=lang, utt_id=lang, extra={"benchmark": "Vistaar/Kathbath"})
        for lang in ("hi", "te")
    ]
    page = render(None, {"mine": rows})
    board = re.search(r'<section id="board">.*?</section>', page, re.DOTALL).group()
    lines = re.findall(r"<tr class=\"(ours|published)\">(.*?)</tr>", board, re.DOTALL)
    shown = [(kind, re.findall(r">([^<>]+)</", line)) for kind, line in lines]
    assert ("published", ["IndicWhisper", "published", "vistaar", "10.3", "25.0", "17.6"]) in shown
    assert ("ours", ["mine", "indic-strict-v1", "25.0", "25.0", "25.0"]) in shown
    assert ("ours", ["mine", "vistaar", "25.0", "25.0", "25.0"]) in shown
    assert ("published", ["Google STT", "published", "vistaar", "14.3", "-", "-"]) in shown
    assert "github AI4Bharat/vistaar" in board


def test_published_speeds_are_rings_beside_ours_and_stand_on_the_board():
    rows = [
        one("one two", "one", lang="en", duration=3.0, elapsed=0.1, extra={"benchmark": "LibriSpeech-clean"})
    ]
    page = render(None, {"mine": rows})
    board = re.search(r'<section id="board">.*?</section>', page, re.DOTALL).group()
    assert "3332.7" in board
    assert "measured on other hardware" in board
    drawing = re.search(r'<section id="speed">.*?</section>', page, re.DOTALL).group()
    assert drawing.count('class="ring"') == 13
    assert "nvidia/parakeet-tdt-0.6b-v3: 1.9 % WER, RTFx 3332.7, published" in drawing
    assert "Rings: published figures" in drawing
    silent = [one("one two", "one", lang="en", extra={"benchmark": "LibriSpeech-clean"})]
    assert 'id="speed"' not in render(None, {"mine": silent})


def test_how_speed_was_measured_is_said_once():
    how = {"batch_size": 60, "dtype": "float32", "device": "cpu", "warmup_batches": 0}
    rows = [one("one two", "one", lang="en", duration=3.0, elapsed=0.1, extra=how)]
    page = render(None, {"a": rows, "b": rows})
    said = "Measured on a, b: batch size 60, dtype float32, device cpu, warmup batches 0."
    assert page.count(said) == 1
    assert page.count("batch size 60") == 1


def test_each_benchmark_has_its_own_board():
    rows = [one("क", "क", utt_id=str(i), extra={"benchmark": f"B{i}"}) for i in range(2)]
    sections = checked(render(None, {"x": rows})).sections
    assert {"board", "board-2", "scores", "scores-2"} <= set(sections)


@pytest.fixture
def clips(tmp_path):
    paths = {}
    for i in range(6):
        paths[str(i)] = tmp_path / f"clip {i}.flac"
        paths[str(i)].write_bytes(b"sound" * 200)
    return paths


def _utterances():
    words = ["क", "ख", "ग", "घ", "च", "छ"]
    rows = [one(" ".join(words), " ".join(words[: 6 - i]), utt_id=str(i)) for i in range(6)]
    return scored(x=rows)


def test_the_worst_are_embedded_and_others_linked(clips, tmp_path):
    clips["1"].unlink()
    page = render_page(_utterances(), Page(sound=clips, embed=2, folder=tmp_path))
    _, cells = unpacked(page)
    sound = {row[0]: row[1] for row in cells}
    assert sound == {
        "5": "#0",
        "4": "#1",
        "3": "clip%203.flac",
        "2": "clip%202.flac",
        "0": "clip%200.flac",
        "1": "",
    }
    assert page.count(base64.b64encode(b"sound" * 200).decode()) == 2
    assert 'id="clip-1" data-type="audio/flac"' in page


def test_embedded_sound_has_a_limit(clips, monkeypatch):
    monkeypatch.setattr("maya_eval.report.sound.MOST_BYTES", 3 * 1336)
    clips["4"].write_bytes(b"sound" * 900)  # does not fit any more: the next one is taken
    sound = choose_sound(gather(_utterances().scored), clips)
    assert sound.of == {"5": "#0", "3": "#1", "2": "#2"}
    assert len(sound.markup) < 4 * 1336 + 400


def test_without_a_place_no_file_is_linked(clips):
    sound = choose_sound(gather(_utterances().scored), clips, most=0)
    assert sound.of == {}
