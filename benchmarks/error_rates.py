"""Error rates of 20,000 sentence pairs against jiwer and torchmetrics, and a file of a million utterances.

    python benchmarks/error_rates.py [--utterances 1000000] [--without-torchmetrics]

Prints CPU seconds for WER and CER of the same pairs in one process, whether the totals are the same, and
the time and peak memory of `maya-eval score` on the file. torchmetrics' CER alone takes minutes.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jiwer
from rich.console import Console
from rich.table import Table

from maya_eval.edits import ErrorCounts, char_errors, word_errors
from maya_eval.hypotheses import Hypothesis

PAIRS, WORDS = 20_000, 14
LEAST_JIWER, LEAST_TORCHMETRICS, MOST_GIB = 5, 20, 2.0


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of Devanagari-like sentences, about one word in four wrong."""
    rng = random.Random(seed)
    letters, signs = [chr(c) for c in range(0x0915, 0x0939)], ["", "\u093e", "\u093f", "\u0947", "\u094d"]
    vocabulary = [
        "".join(rng.choice(letters) + rng.choice(signs) for _ in range(rng.randint(1, 4)))
        for _ in range(5000)
    ]
    pairs = []
    for _ in range(count):
        ref = rng.choices(vocabulary, k=WORDS)
        hyp = [word if rng.random() > 0.18 else rng.choice(vocabulary) for word in ref if rng.random() > 0.05]
        pairs.append((" ".join(ref), " ".join(hyp)))
    return pairs


def ours(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    words = sum((word_errors(*pair) for pair in pairs), ErrorCounts())
    chars = sum((char_errors(*pair) for pair in pairs), ErrorCounts())
    return words.rate or 0.0, chars.rate or 0.0


def of_jiwer(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    refs, hyps = map(list, zip(*pairs, strict=True))
    return jiwer.wer(refs, hyps), jiwer.cer(refs, hyps)


def of_torchmetrics(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    from torchmetrics.functional.text import char_error_rate, word_error_rate

    refs, hyps = map(list, zip(*pairs, strict=True))
    return word_error_rate(hyps, refs).item(), char_error_rate(hyps, refs).item()


def timed(work: Callable[[list[tuple[str, str]]], tuple[float, float]], pairs: list[tuple[str, str]]):
    work(pairs[:10])
    started = time.process_time()
    rates = work(pairs)
    return time.process_time() - started, rates


def compare(console: Console, with_torchmetrics: bool) -> None:
    pairs = sentences(PAIRS)
    mine, rates = timed(ours, pairs)
    table = Table(title=f"WER and CER of {PAIRS:,} pairs", title_justify="left")
    for column in ("", "CPU s", "times ours", "asked", "WER", "CER", "same totals"):
        table.add_column(column, justify="right")
    table.add_row("maya-eval", f"{mine:.2f}", "1.0", "", *(f"{rate:.9f}" for rate in rates), "")
    peers = [("jiwer", of_jiwer, LEAST_JIWER, 1e-12)]
    if with_torchmetrics:
        peers.append(("torchmetrics", of_torchmetrics, LEAST_TORCHMETRICS, 1e-6))
    for name, work, least, tolerance in peers:
        seconds, theirs = timed(work, pairs)
        same = all(abs(a - b) < tolerance for a, b in zip(rates, theirs, strict=True))
        row = f"{seconds:.2f}", f"{seconds / mine:.1f}", f"{least}", *(f"{rate:.9f}" for rate in theirs)
        table.add_row(name, *row, "yes" if same else "NO")
    console.print(table)


def write_file(path: Path, utterances: int) -> None:
    pairs = sentences(PAIRS, seed=1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(utterances):
            text, pred = pairs[number % PAIRS]
            row = Hypothesis(
                utt_id=f"corpus/speaker{number % 5000:05d}/utterance{number:09d}",
                lang=("hi", "mr")[number % 2],
                text=text,
                pred_text=pred,
                duration=4.2,
                elapsed=0.05,
                speaker=f"speaker{number % 5000:05d}",
                extra={"scenario": "read", "benchmark": "synthetic"},
            )
            file.write(row.to_json() + "\n")


def score_file(console: Console, utterances: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hyps.jsonl"
        write_file(path, utterances)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "maya_eval.cli", "score", str(path)], check=True)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        size = path.stat().st_size / 2**30
    console.print(
        f"{utterances:,} utterances ({size:.2f} GiB of JSON lines) scored in {seconds:.0f} s, "
        f"at most {peak:.2f} GiB of memory (asked: {MOST_GIB})",
        highlight=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--utterances", type=int, default=1_000_000)
    parser.add_argument("--without-torchmetrics", action="store_true")
    options = parser.parse_args()
    console = Console(width=100)
    score_file(console, options.utterances)
    compare(console, not options.without_torchmetrics)


if __name__ == "__main__":
    main()
