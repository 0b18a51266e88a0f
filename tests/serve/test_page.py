"""The page in a real Chromium: what a visitor does with it, done."""

import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from maya_encoder.hypothesis import Hypothesis, Word

pytest.importorskip("gradio")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (chromium, google-chrome)"),
    pytest.mark.filterwarnings("ignore"),  # Gradio's own run in the server's thread, here
]

expect.set_options(timeout=20_000)  # milliseconds; machines may be busy
FLAGS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


def live_model(sounds):
    """Hears a word in every 0.3 s of a microphone, when it is told to."""

    class Live(sounds.EchoModel):
        def _words(self, seconds):
            return [Word(f"w{n}", n * 0.3, n * 0.3 + 0.3, 1.0) for n in range(int(seconds / 0.3))]

        def transcribe(self, audio, langs, **how):
            if not self.live.is_set():
                return super().transcribe(audio, langs, **how)
            found = [self._words(len(one) / 16000) for one in audio]
            texts = [" ".join(word.text for word in words) for words in found]
            return [
                Hypothesis(text, "hi", "ctc", len(one) / 16000, words=words)
                for one, text, words in zip(audio, texts, found, strict=True)
            ]

    model = Live()
    model.live = threading.Event()
    return model


@pytest.fixture(scope="module")
def page_server(serve, sounds):
    with serve(live_model(sounds), page=True, max_seconds=60) as server:
        yield server


@pytest.fixture(scope="module")
def until(sounds):
    return sounds.until


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def tab(browser, page_server):
    """The page, opened once for all tests; a request to another host fails the last of them."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, permissions=["microphone"])
    opened = context.new_page()
    trouble, requests = [], []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(page_server.url)
    opened.wait_for_selector("#maya-go")
    yield opened
    assert trouble == []
    assert [url for url in requests if not url.startswith((page_server.url, "data:", "blob:"))] == []
    context.close()


@pytest.fixture
def fresh(tab):
    """The page without audio or live text."""
    tab.evaluate("document.getElementById('maya-live-text').replaceChildren()")
    clear = tab.locator("#maya-audio button[aria-label=Clear]")
    if clear.count():
        clear.click()
    tab.wait_for_function("!document.querySelector('#maya-path textarea, #maya-path input').value")
    return tab


def upload(tab, data: bytes, name: str = "clip.wav") -> None:
    tab.set_input_files(
        "#maya-audio input[type=file]", {"name": name, "mimeType": "audio/wav", "buffer": data}
    )
    tab.wait_for_function("document.querySelector('#maya-path textarea, #maya-path input').value")


def choose(tab, what: str, shown: str) -> None:
    tab.locator(f"{what} input").click()
    tab.get_by_role("option", name=shown).click()


def uploads() -> list[Path]:
    folder = Path(tempfile.gettempdir())
    return [path for top in folder.glob("maya-page-*") for path in top.rglob("*") if path.is_file()]


def test_without_audio_the_page_asks_for_it(fresh):
    choose(fresh, "#maya-lang", "Hindi")
    fresh.locator("#maya-go").click()
    expect(fresh.locator(".maya-error")).to_contain_text("upload something first")


def test_an_upload_becomes_words_that_play(fresh, said, tmp_path, page_server):
    upload(fresh, said(77, 2.0))
    fresh.locator("#maya-go").click()
    words = fresh.locator(".maya-word[data-start]")
    expect(words).to_have_text(["number", "77"])
    colours = words.evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert len(set(colours)) == 2  # 50 % and 100 % sure
    expect(fresh.locator("#maya-timings")).to_contain_text("2.0 s of audio")
    expect(fresh.locator("#maya-timings tr")).to_have_count(5)
    assert uploads() == []
    words.nth(1).click()
    fresh.wait_for_function("document.getElementById('maya-player').currentTime >= 1")
    words.nth(0).press("Enter")
    fresh.wait_for_function("document.getElementById('maya-player').currentTime < 1")
    fresh.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_the_running_stage_is_shown_and_the_same_audio_can_be_decoded_another_way(fresh, said, page_server):
    upload(fresh, said(80))
    fresh.locator("#maya-go").click()
    words = fresh.locator(".maya-word[data-start]")
    expect(words).to_have_text(["number", "80"])
    choose(fresh, "#maya-decode", "CTC")
    page_server.model.going.clear()
    fresh.locator("#maya-go").click()
    expect(fresh.locator(".maya-now th")).to_have_text("model")
    page_server.model.going.set()
    expect(words).to_have_text(["number", "80"])
    assert page_server.model.asked[-1] == "ctc"


def test_a_recording_is_transcribed(fresh):
    fresh.get_by_role("button", name="Record audio").click()
    fresh.locator("#maya-audio .record-button").click()
    fresh.wait_for_timeout(700)
    fresh.locator("#maya-audio .stop-button").first.click()
    fresh.wait_for_function("document.querySelector('#maya-path textarea, #maya-path input').value")
    fresh.locator("#maya-go").click()
    expect(fresh.locator("#maya-timings")).to_contain_text("s of audio")
    fresh.get_by_role("button", name="Upload file").click()


def test_a_live_speaker_sees_stable_text_a_pale_tail_and_the_final_text(fresh, page_server, tmp_path, until):
    live = page_server.model.live
    words, button = fresh.locator("#maya-live-text"), fresh.locator("#maya-live-go")
    live.set()
    try:
        choose(fresh, "#maya-lang", "Hindi")
        button.click()
        expect(words.locator(".maya-stable").first).to_contain_text("w0 w1")
        expect(words.locator(".maya-tail").first).to_contain_text("w")
        assert words.locator(".maya-tail").first.evaluate("one => getComputedStyle(one).opacity") == "0.5"
        fresh.screenshot(path=tmp_path / "live.png", full_page=True)
        expect(button).to_have_text("Stop")
        button.click()
        expect(words.locator(".maya-done").first).to_contain_text("w0 w1")
        expect(button).to_have_text("Speak live")
    finally:
        live.clear()
    until(lambda: page_server.service.active == 0)


def test_a_stream_that_is_refused_is_told_on_the_page(fresh, page_server):
    page_server.service.closing = True
    try:
        fresh.locator("#maya-live-go").click()
        expect(fresh.locator("#maya-live-text .maya-error")).to_contain_text("refused the stream")
    finally:
        page_server.service.closing = False
    expect(fresh.locator("#maya-live-go")).to_have_text("Speak live")


def test_what_is_no_audio_is_told_in_a_sentence(fresh):
    upload(fresh, b"<b>text</b>" * 100)
    fresh.locator("#maya-go").click()
    expect(fresh.locator(".maya-error")).to_contain_text("no audio file")


def test_with_a_key_the_page_asks_for_it(serve):
    with serve(page=True, api_key="sesame") as server:
        assert server.request("GET", "/config").status == 401
        for key, status in (("wrong", 400), ("sesame", 200)):
            body = f"username=me&password={key}"
            kind = "application/x-www-form-urlencoded"
            assert server.request("POST", "/login", body, Content_Type=kind).status == status
