import wave
from html.parser import HTMLParser

import pytest

from maya_eval.hypotheses import Hypothesis
from maya_eval.report import render

VOID = {"meta", "br", "img", "link", "input", "line", "rect"}


class _Checker(HTMLParser):
    """Holds that every element is closed in its place, and collects what the page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.ids, self.texts = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta"}:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def _checked(page):
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


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
    checker = _checked(page)
    assert checker.ids == ["scores", "bars", "listen", "voices", "hardest", "time", "versions"]
    assert all(source.startswith("data:audio/wav;base64,") for source in checker.sources)
    assert len(checker.sources) == 1
    assert "http" not in page
    assert "One synthesiser only." in checker.texts
    assert "indic-strict-v1" in page
    assert "हिन्दी" in page


def test_a_summary_alone_makes_a_page(summary):
    assert _checked(render(summary)).ids == ["scores", "bars", "time", "versions"]


def test_markup_in_texts_is_escaped(summary):
    evil = "<script>alert(1)</script>&\"'"
    row = Hypothesis(utt_id=evil, lang="en", text="a b", pred_text="a &lt;b", speaker=evil)
    page = render(summary, {evil: [row]}, title=evil, statement=evil, profile="raw")
    _checked(page)
    assert "<script" not in page


def test_words_are_aligned_in_columns_under_the_reference(summary):
    row = Hypothesis(utt_id="1", lang="hi", text="एक दो तीन चार", pred_text="शून्य एक दस तीन", speaker=None)
    page = render(summary, {"ctc": [row]})
    assert "<b>एक</b><span><ins>शून्य</ins> एक</span>" in page
    assert "<b>दो</b><span><mark>दस</mark></span>" in page
    assert "<b>चार</b><span><del>&middot;</del></span>" in page


def test_empty_texts_on_either_side_are_shown(summary):
    rows = [
        Hypothesis(utt_id="1", lang="hi", text="", pred_text="क ख"),
        Hypothesis(utt_id="2", lang="hi", text="क ख", pred_text=""),
    ]
    page = render(summary, {"ctc": rows})
    _checked(page)
    assert "<ins>क</ins> <ins>ख</ins>" in page
