"""The whole demo, with the small decoder and with the real one: long, so not part of `make test`."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from maya_bridge.gguf import HELPERS, PACKAGE

ROOT = Path(__file__).resolve().parents[2]
LANGS = ["as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te"]


@pytest.mark.long
def test_demo_reaches_its_bars(run):
    done = run("make", "demo", f"VENV={sys.prefix}", timeout=3600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    summary = json.loads((ROOT / "runs" / "demo" / "summary.json").read_text())
    wer = {
        (head, split): [r["wer"] for r in summary["rows"] if (r["head"], r["split"]) == (head, split)]
        for head in ("ctc", "rnnt", "llm")
        for split in ("test", "control")
    }
    assert all(len(rates) == len(LANGS) for rates in wer.values())
    for head in ("ctc", "rnnt", "llm"):
        assert sum(wer[head, "test"]) / len(LANGS) <= 0.20
        assert sum(wer[head, "control"]) / len(LANGS) > 0.80
    assert sum(wer["llm", "test"]) <= sum(wer["ctc", "test"])
    assert summary["peak_gib"] <= 6


@pytest.mark.long
@pytest.mark.skipif(not all(map(find_spec, (*HELPERS, PACKAGE))), reason="the real LLM is not installed")
def test_demo_ends_with_the_real_llm(run):
    done = run("make", "demo", "LLM=gemma3_270m", f"VENV={sys.prefix}", timeout=4 * 3600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    summary = json.loads((ROOT / "runs" / "demo_gemma3_270m" / "summary.json").read_text())
    tested = {(row["head"], row["lang"]) for row in summary["rows"] if row["split"] == "test"}
    assert tested == {(head, lang) for head in ("ctc", "rnnt", "llm") for lang in LANGS}
