"""The whole demo, all twelve languages: long, so not part of `make test`."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LANGS = "as bn en gu hi kn ml mr or pa ta te".split()


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
