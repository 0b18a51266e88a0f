"""The page in a real Chromium: what a reader does with it, done."""

import shutil
import struct
import wave

import pytest
from playwright.sync_api import expect, sync_playwright

from maya_eval.hypotheses import Hypothesis
from maya_eval.report import Page, render_page
from maya_eval.report.scored_run import ScoredRun
from maya_eval.scores import count

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (chromium, google-chrome)")

EVIL = "<img src=x onerror=document.title='hacked'>"
SAID = {
    "hi": "नमस्ते दुनिया ज़रूर क्षत्रिय",
    "ta": "இன்று மழை பெய்யும் நாள்",
    "ur": "آج موسم اچھا ہے",
    "en": "the train leaves at seven",
}


def _rows(rate):
    """Sixty utterances; the n-th of a language has n modulo `rate` words wrong."""
    rows = []
    for lang, text in SAID.items():
        words = text.split()
        for i in range(15):
            wrong = i % rate
            pred = [f"{lang}x{at}" if at < wrong else word for at, word in enumerate(words)]
            rows.append(
                Hypothesis(
                    utt_id=f"{lang}-{i:02d}",
                    lang=lang,
                    text=" ".join(words) + ".",
                    pred_text=" ".join([*pred, "extra"] if i == 7 else pred),
                    duration=1.0 + i,
                    elapsed=0.1,
                    speaker=f"voice{i % 3}",
                )
            )
    return rows


def _wav(path, seconds=0.3):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", (i * 97) % 4000) for i in range(int(16000 * seconds))))


@pytest.fixture(scope="module")
def page_run():
    first, second = _rows(5), _rows(4)
    second[3].pred_text = EVIL
    return ScoredRun({"ctc": count(first), "peer": count(second)})


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, page_run):
    folder = tmp_path_factory.mktemp("page")
    sound = {name: folder / f"{name}.wav" for name in ("hi-04", "en-00")}
    for path in sound.values():
        _wav(path)
    path = folder / "report.html"
    path.write_text(render_page(page_run, Page(sound=sound, embed=1, folder=folder)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser, page_file):
    """The opened page; any error of its script, and any request to anywhere, fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    trouble, requests = [], []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(page_file.as_uri())
    opened.wait_for_selector("html[data-ready=rows]")
    yield opened
    assert trouble == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def ids(tab):
    return [
        text.split(" · ")[0].removeprefix("♪ ")
        for text in tab.locator("tr.line .open .quiet").all_inner_texts()
    ]


def column(tab, number):
    return [float(text) for text in tab.locator(f"tr.line td:nth-of-type({number})").all_inner_texts()]


def where(tab):
    return tab.locator("#where").inner_text()


def test_the_worst_stand_first_fifty_at_a_time(tab):
    assert where(tab) == "1–50 of 60"
    errors = column(tab, 6)
    assert len(errors) == 50
    assert errors == sorted(errors, reverse=True)
    assert tab.locator("#back").is_disabled()
    tab.click("#next")
    assert where(tab) == "51–60 of 60"
    assert len(ids(tab)) == 10
    assert tab.locator("#next").is_disabled()
    tab.click("#back")
    assert where(tab) == "1–50 of 60"


def test_a_column_sorts_both_ways(tab):
    head = tab.locator("table.rows th", has_text="Seconds")
    head.locator("button").click()
    seconds = column(tab, 2)
    assert seconds[0] == 15.0
    assert seconds == sorted(seconds, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert column(tab, 2) == sorted(column(tab, 2))
    assert head.get_attribute("aria-sort") == "ascending"
    tab.click("table.rows th >> text=Utterance")
    assert ids(tab)[:2] == ["en-00", "en-01"]
    tab.click("table.rows th >> text=peer %")
    rates = column(tab, 5)
    assert rates == sorted(rates, reverse=True)


def test_languages_voices_and_words_filter(tab):
    tab.select_option("#by-lang", label="ta")
    assert where(tab) == "1–15 of 15"
    assert all(name.startswith("ta-") for name in ids(tab))
    tab.select_option("#by-speaker", label="voice1")
    assert sorted(ids(tab)) == ["ta-01", "ta-04", "ta-07", "ta-10", "ta-13"]
    tab.fill("#find", "extra")
    expect(tab.locator("#where")).to_have_text("1–1 of 1")
    assert ids(tab) == ["ta-07"]
    tab.fill("#find", "no such word")
    expect(tab.locator("#where")).to_have_text("none found")
    assert ids(tab) == []


def _expected(page_run):
    """Ids by kind, worked out from the counts."""
    first, second = (page_run.scored[name] for name in ("ctc", "peer"))
    pairs = {a.hypothesis.utt_id: (a, b) for a, b in zip(first, second, strict=True)}
    wrong = {name for name, pair in pairs.items() if any(item.words.errors for item in pair)}
    same = {name for name, (a, b) in pairs.items() if a.hyp == b.hyp}
    return {
        "all utterances": set(pairs),
        "with errors": wrong,
        "where systems differ": set(pairs) - same,
        "systems agree, reference differs": wrong & same,
        "nothing written": {name for name, pair in pairs.items() if not all(item.hyp for item in pair)},
        "with sound": {"hi-04", "en-00"},
    }


def test_utterances_of_one_kind_are_shown(tab, page_run):
    for kind, expected in _expected(page_run).items():
        tab.select_option("#show", label=kind)
        assert where(tab).split(" of ")[-1] == (str(len(expected)) if expected else "none found"), kind
        assert set(ids(tab)) <= expected


def test_a_click_opens_the_aligned_words(tab):
    tab.fill("#find", "hi-07")
    expect(tab.locator("#where")).to_have_text("1–1 of 1")
    tab.click("tr.line button.open")
    opened = tab.locator("tr.detail")
    words = opened.locator(".col")
    assert words.locator("b").all_inner_texts() == SAID["hi"].split()
    shown = [text.split("\n") for text in words.all_inner_texts()]
    assert [cell.strip() for cell in shown[0]] == ["नमस्ते", "hix0", "hix0"]
    assert [cell.strip() for cell in shown[3]] == ["क्षत्रिय", "क्षत्रिय extra", "क्षत्रिय extra"]
    assert words.nth(0).locator("mark").count() == 2
    assert opened.locator("ins").all_inner_texts() == ["extra", "extra"]
    assert opened.locator(".labels").inner_text().split() == ["said", "CTC", "peer"]
    assert opened.locator("dd").first.inner_text() == SAID["hi"] + "."
    tab.click("tr.line button.open")
    assert tab.locator("tr.detail").count() == 0


def test_scripts_run_in_their_own_direction(tab):
    for lang, direction in (("ur", "rtl"), ("hi", "ltr")):
        tab.select_option("#by-lang", label=lang)
        tab.click("tr.line button.open >> nth=0")
        cols = tab.locator("tr.detail .cols")
        assert cols.evaluate("element => getComputedStyle(element).direction") == direction
        assert cols.get_attribute("lang") == lang
        boxes = [cols.locator(".col").nth(i).bounding_box()["x"] for i in (0, 1)]
        assert (boxes[0] > boxes[1]) == (direction == "rtl")


def test_markup_in_an_output_stays_text(tab):
    tab.fill("#find", "onerror")
    expect(tab.locator("#where")).to_have_text("1–1 of 1")
    tab.click("tr.line button.open")
    assert EVIL in tab.locator("tr.detail dl").inner_text()
    assert tab.locator("tr.detail img").count() == 0
    assert tab.title() != "hacked"


@pytest.mark.parametrize(("utterance", "kind"), [("hi-04", "data:audio/wav"), ("en-00", "en-00.wav")])
def test_sound_plays_embedded_and_linked(tab, utterance, kind):
    tab.fill("#find", utterance)
    expect(tab.locator("#where")).to_have_text("1–1 of 1")
    assert "♪" in tab.locator("tr.line").inner_text()
    tab.click("tr.line button.open")
    audio = tab.locator("tr.detail audio")
    assert kind in audio.get_attribute("src")
    played = audio.evaluate(
        """async audio => {
            const ended = new Promise(done => audio.onended = done);
            await audio.play();
            await ended;
            return audio.currentTime;
        }"""
    )
    assert played == pytest.approx(0.3, abs=0.05)


def test_the_leaderboard_sorts(tab):
    names = "#board tbody th"
    before = tab.locator(names).all_inner_texts()
    tab.click("#board thead th >> text=Mean of 4")
    assert tab.locator(names).all_inner_texts() == before  # the best mean stood first
    tab.click("#board thead th >> text=Mean of 4")
    assert tab.locator(names).all_inner_texts() == before[::-1]


def test_a_frequent_error_finds_its_utterances(tab):
    tab.click("#errors summary >> nth=1")
    row = tab.locator("#errors details").nth(1).locator("button.find").first
    word, lang = row.get_attribute("data-find"), row.get_attribute("data-lang")
    row.click()
    assert tab.input_value("#find") == word
    assert {name.split("-")[0] for name in ids(tab)} == {lang}


def test_the_page_fits_a_phone_and_the_dark(browser, page_file):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    tab.wait_for_selector("html[data-ready=rows]")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in paper[4:-1].split(",")) < 60
    context.close()
