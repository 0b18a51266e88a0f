"""Makes the pictures of the site from a run of `make demo`: python docs/make_pictures.py [RUN] [--only NAME].

Pages that the code wrote are opened in Chromium and photographed, with at most 64 colours a picture. Look at
each. It needs the packages playwright and pillow, and Chromium on the PATH.
"""

import argparse
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from maya_train.plots import draw

PICTURES = Path(__file__).parent / "pictures"
BIN = Path(sys.executable).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
Clip = dict[str, float]


def keep(picture: bytes, name: str) -> None:
    """Write a picture in few colours."""
    path = PICTURES / f"{name}.png"
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(64).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KiB")


def tell(work: Path, *command: str) -> None:
    """Run one of our programs in a folder."""
    subprocess.run([str(BIN / command[0]), *command[1:]], cwd=work, check=True, stdout=subprocess.DEVNULL)


def opened(browser: Browser, url: str, width: int, height: int) -> Page:
    """Return a page in a window of that size."""
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light").new_page()
    page.goto(url)
    return page


def top(page: Page, width: int, height: int) -> bytes:
    """Return the upper part of what a page shows."""
    clip: Clip = {"x": 0, "y": 0, "width": width, "height": height}
    return page.screenshot(clip=clip)  # type: ignore[arg-type]


def report(browser: Browser, run: Path, work: Path) -> None:
    """The report's leaderboard and its browser of utterances."""
    tell(work, "maya-eval", "report", str(run / "summary.json"), "--out", "report.html")
    page = opened(browser, (work / "report.html").as_uri(), 1000, 900)
    page.wait_for_timeout(1500)
    keep(top(page, 1000, 760), "report")
    page.get_by_text("test-pa-000043").click()  # its words side by side
    page.evaluate("document.querySelector('#browser').scrollIntoView()")
    page.wait_for_timeout(500)
    keep(top(page, 1000, 620), "browser")


def stats(browser: Browser, run: Path, work: Path) -> None:
    """The page of `maya-data stats --html`."""
    tell(work, "maya-data", "index", str(run / "data/train"), "--out", "runs/index")
    tell(work, "maya-data", "stats", "runs/index", "--html", "stats.html")
    keep(top(opened(browser, (work / "stats.html").as_uri(), 1200, 640), 1200, 640), "stats")


def curves(browser: Browser, run: Path, work: Path) -> None:
    """The curves of the stage `encoder`."""
    folder = work / "encoder"
    folder.mkdir()
    for name in ("metrics.jsonl", "validation.jsonl"):
        shutil.copy(run / "encoder" / name, folder)
    draw(folder)
    keep(top(opened(browser, (folder / "curves.html").as_uri(), 740, 705), 740, 705), "curves")


@contextmanager
def server(model: Path) -> Iterator[str]:
    """`maya-serve` on a free port; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([str(BIN / "maya-serve"), "--model", str(model), "--port", str(port)])
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()


def serve(browser: Browser, run: Path, work: Path) -> None:
    """The page of `maya-serve` after a transcription."""
    with server(run / "model") as url:
        page = opened(browser, url, 1100, 700)
        page.wait_for_selector("#maya-go")
        page.set_input_files("#maya-audio input[type=file]", run / "samples/hi.wav")
        page.wait_for_function("document.querySelector('#maya-path textarea, #maya-path input').value")
        page.locator("#maya-lang input").click()
        page.get_by_role("option", name="Hindi").click()
        page.locator("#maya-go").click()
        page.wait_for_selector("#maya-result span, #maya-result button", timeout=120_000)
        page.wait_for_timeout(1500)
        keep(top(page, 1100, 688), "serve")  # live text is below


MAKERS: dict[str, Callable[[Browser, Path, Path], None]] = {
    "report": report,
    "stats": stats,
    "curves": curves,
    "serve": serve,
}


def main() -> None:
    """Make all of them, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("--only", choices=MAKERS)
    given = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as work:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, maker in MAKERS.items():
            if given.only in (None, name):
                maker(browser, given.run.resolve(), Path(work))
        browser.close()


if __name__ == "__main__":
    main()
