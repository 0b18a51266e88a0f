"""How fast the report of 50,000 utterances opens in a headless Chromium, and how fast it sorts and searches.

    python benchmarks/report_page.py [--utterances 50000] [--keep FOLDER]

The clock runs from the start of the navigation until the first page of utterances is drawn. Two systems,
twelve languages, 20,000 words each, without sound and with as much of it as a page may hold (30 MB). The bar:
under 3 s. Needs chromium on the PATH and playwright.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from maya_eval.cli import main as maya_eval
from maya_eval.hypotheses import Hypothesis, read_hypotheses, write_hypotheses

BAR_SECONDS = 3.0
OPENINGS = 3
BLOCKS = {
    "as": 0x0995,
    "bn": 0x0995,
    "en": 0x0061,
    "gu": 0x0A95,
    "hi": 0x0915,
    "kn": 0x0C95,
    "ml": 0x0D15,
    "mr": 0x0915,
    "or": 0x0B15,
    "pa": 0x0A15,
    "ta": 0x0B95,
    "te": 0x0C15,
}
"""First consonant of each script (for English the letter a); the vowel sign aa lies 0x29 further."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--utterances", type=int, default=50_000)
    parser.add_argument("--keep", type=Path, help="leave page and hypotheses there")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("report_page: no chromium on the PATH, nothing measured", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        write_systems(folder, options.utterances)
        opened = [measure(chromium, write_report(folder, sound)) for sound in (False, True)]
    return int(max(opened) > BAR_SECONDS)


def write_systems(folder: Path, count: int) -> None:
    rng = random.Random(0)
    words = {lang: [word(rng, lang) for _ in range(20_000)] for lang in BLOCKS}
    references = [sentence(rng, words, i) for i in range(count)]
    for system, rate in (("a", 0.08), ("b", 0.15)):
        rows = [heard(rng, words, reference, rate) for reference in references]
        write_hypotheses(folder / f"{system}.jsonl", rows)


def write_report(folder: Path, sound: bool) -> Path:
    clips = folder / "a.clips"
    shutil.rmtree(clips, ignore_errors=True)
    if sound:
        write_clips(clips, read_hypotheses(folder / "a.jsonl"))
    start = time.perf_counter()
    if maya_eval(["report", str(folder / "a.jsonl"), str(folder / "b.jsonl"), "--out", str(folder)]):
        raise SystemExit("the report could not be made")
    page = folder / "report.html"
    print(f"{'with' if sound else 'without'} sound: made in {time.perf_counter() - start:.0f} s")
    return page


def write_clips(folder: Path, rows: list[Hypothesis]) -> None:
    """Noise of the size of speech for every utterance that may be among the worst."""
    folder.mkdir()
    content = random.Random(1).randbytes(112_000)
    (folder / "noise.flac").write_bytes(content)
    (folder / "clips.json").write_text(json.dumps({row.utt_id: "noise.flac" for row in rows}))


def word(rng: random.Random, lang: str) -> str:
    first = BLOCKS[lang]
    letters = [chr(first + rng.randrange(20)) for _ in range(rng.randint(2, 5))]
    if lang != "en":
        letters.insert(rng.randint(1, len(letters)), chr(first + 0x29))
    return "".join(letters)


def sentence(rng: random.Random, words: dict[str, list[str]], i: int) -> Hypothesis:
    lang = list(BLOCKS)[i % len(BLOCKS)]
    text = " ".join(rng.choices(words[lang], k=rng.randint(4, 18))) + rng.choice(("", ".", "?"))
    return Hypothesis(
        utt_id=f"test-{lang}-{i:06d}",
        lang=lang,
        text=text,
        pred_text="",
        duration=round(0.5 * len(text.split()), 2),
        elapsed=0.1,
        speaker=f"voice{i % 97}",
    )


def heard(rng: random.Random, words: dict[str, list[str]], row: Hypothesis, rate: float) -> Hypothesis:
    written = []
    for item in row.text.split():
        chance = rng.random()
        if chance < rate:
            written.append(rng.choice(words[row.lang]))
        elif chance > rate / 4:
            written.append(item)
        if rng.random() < rate / 4:
            written.append(rng.choice(words[row.lang]))
    return replace(row, pred_text=" ".join(written))


def measure(chromium: str, page: Path) -> float:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = [open_page(browser, page) for _ in range(OPENINGS)]
        tab = browser.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready=rows]")
        by_length = timed(tab, "document.querySelector('th[data-key=seconds] button').click()")
        search = timed(
            tab,
            "const box = document.getElementById('find'); box.value = '0123'; "
            "box.dispatchEvent(new Event('input'))",
        )
        browser.close()
    seconds = statistics.median(opened)
    print(f"  opens in {seconds:.2f} s (median of {OPENINGS}; bar {BAR_SECONDS:.0f} s)")
    print(f"  sorts in {by_length:.2f} s, searches in {search:.2f} s (0.12 s of it waits for more keys)")
    return seconds


def open_page(browser: Any, page: Path) -> float:
    tab = browser.new_page()
    start = time.perf_counter()
    tab.goto(page.as_uri(), wait_until="commit")
    tab.wait_for_selector("html[data-ready=rows] tr.line", timeout=60_000)
    seconds = time.perf_counter() - start
    tab.close()
    return seconds


def timed(tab: Any, action: str) -> float:
    """Seconds from an action until other rows are drawn."""
    tab.evaluate("document.querySelector('table.rows tbody tr').dataset.old = '1'")
    start = time.perf_counter()
    tab.evaluate(action)
    tab.wait_for_selector("table.rows tbody tr:first-child:not([data-old])", timeout=60_000)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
