"""The page in a real Chromium: what a visitor does with it, done."""

import shutil
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

pytest.importorskip("gradio")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (chromium, google-chrome)"),
    pytest.mark.filterwarnings("ignore"),  # Gradio's own run in the server's thread, here
]

FLAGS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


@pytest.fixture(scope="module")
def page_server(serve):
    with serve(page=True, max_seconds=60) as server:
        yield server


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
    """The page without audio."""
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
