import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from maya_eval.cli import main
from maya_eval.hypotheses import read_hypotheses

PLUGINS = """
import os
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Literal

import numpy as np

TEXTS = {"hi": "नमस्ते दुनिया", "ta": "வணக்கம் உலகம்"}


@dataclass(kw_only=True)
class ToneReader:
    name: str = "tones"
    root: str | None = None
    lang: str | None = None
    count: int = 6
    broken: int = -1

    def build(self):
        for i in range(self.count):
            samples = np.full(800 * (i + 1) if i != self.broken else 0, 1000 + i, dtype=np.int16)
            yield {
                "id": f"u{i}", "lang": self.lang, "text": f"{TEXTS[self.lang]} {i}",
                "speaker": f"v{i % 2}", "domain": "news", "duration": 0.05 * (i + 1),
                "audio": {"array": samples, "sampling_rate": 16000},
            }


@dataclass(kw_only=True)
class Deaf:
    name: str = "deaf"
    slow: float = 0.0
    loud: bool = False
    mode: Literal["slow", "fast"] = "slow"
    words: int | None = None
    note: str = ""

    def build(self, model, device):
        if self.mode == "fast" or self.note:
            print("heard:", self)
        return self

    def transcribe(self, audio, langs, batch_size):
        time.sleep(self.slow)
        return [SimpleNamespace(text=f"{TEXTS[lang]} {len(samples)}") for samples, lang in zip(audio, langs)]
"""
BENCHMARK = """
name: Tones
where: "https://example.org/tones"
root: {root}
langs: {{hi: hindi, ta: tamil}}
folder: "{{root}}/{{language}}"
reader: {{name: tones, root: "{{folder}}", lang: "{{lang}}"}}
"""


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """A package of somebody else's that offers a reader and a transcriber by entry point."""
    site = tmp_path / "site"
    info = site / "tones-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "tones_plugins.py").write_text(PLUGINS, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tones\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[maya.readers]\ntones = tones_plugins:ToneReader\n[maya.transcribers]\ndeaf = tones_plugins:Deaf\n"
    )
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("tones_plugins", None)


@pytest.fixture
def benchmark(tmp_path, registered):
    for language in ("hindi", "tamil"):
        (tmp_path / "data" / language).mkdir(parents=True)
    path = tmp_path / "tones.yaml"
    path.write_text(BENCHMARK.format(root=tmp_path / "data"), encoding="utf-8")
    return path


def run(benchmark, *more, out="h.jsonl"):
    target = benchmark.parent / out
    arguments = [
        "run",
        "--system",
        "deaf",
        "--model",
        "m",
        "--benchmark",
        str(benchmark),
        "--out",
        str(target),
    ]
    return main([*arguments, *more]), target


def test_a_benchmark_with_a_registered_reader_becomes_json_lines(benchmark, capsys):
    status, out = run(benchmark)
    assert status == 0
    rows = {row.utt_id: row for row in read_hypotheses(out)}
    assert len(rows) == 12
    row = rows["Tones/hi/u3"]
    assert (row.lang, row.text, row.pred_text) == ("hi", "नमस्ते दुनिया 3", "नमस्ते दुनिया 3200")
    assert (row.speaker, row.duration) == ("v1", 0.2)
    assert row.extra["benchmark"] == "Tones"
    assert row.extra["domain"] == "news"
    assert {"device": "cpu", "batch_size": 16, "warmup_batches": 0}.items() <= row.extra.items()
    assert "audio" not in row.extra
    assert "RTFx" in capsys.readouterr().out


def test_without_out_the_file_is_named_after_benchmark_and_system(benchmark, monkeypatch, capsys):
    monkeypatch.chdir(benchmark.parent)
    arguments = ["run", "--system", "deaf", "--model", "some/model", "--benchmark", str(benchmark)]
    assert main([*arguments, "--set", "slow=0"]) == 0
    assert len(read_hypotheses("runs/eval/tones/deaf-model-slow=0.jsonl")) == 12


def test_languages_are_chosen_and_added_later_to_the_same_file(benchmark):
    _, out = run(benchmark, "--langs", "hi")
    assert {row.lang for row in read_hypotheses(out)} == {"hi"}
    whole = out.read_text()
    assert run(benchmark)[0] == 0
    assert out.read_text().startswith(whole)
    assert len(read_hypotheses(out)) == 12


def test_clips_of_the_worst_lie_beside_the_lines_and_follow_them(benchmark):
    import soundfile

    _, out = run(benchmark, "--clips", "3")
    folder = out.with_name("h.clips")
    index = json.loads((folder / "clips.json").read_text())
    assert len(index) == 3
    assert sorted(path.name for path in folder.glob("*.flac")) == sorted(index.values())
    assert {utt_id.split("/")[1] for utt_id in index} == {"hi", "ta"}  # languages in turn
    utt_id, name = next(iter(index.items()))
    samples, rate = soundfile.read(folder / name, dtype="int16")
    assert (rate, len(samples)) == (16000, 800 * (int(utt_id[-1]) + 1))
    run(benchmark, "--clips", "1")
    assert len(list(folder.glob("*.flac"))) == 1


def test_a_run_killed_with_9_goes_on_and_loses_nothing(benchmark, registered):
    out = benchmark.parent / "h.jsonl"
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(registered)!r})
        from maya_eval.cli import main
        main(["run", "--system", "deaf", "--set", "slow=0.15", "--model", "m", "--batch-size", "1",
              "--benchmark", {str(benchmark)!r}, "--out", {str(out)!r}])
    """)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    written = out.read_bytes()
    assert 3 <= written.count(b"\n") < 12
    with out.open("ab") as file:  # what a kill in the middle of a write leaves
        file.write('{"utt_id": "Tones/hi/u5", "lang": "hi", "text": "नम'.encode()[:-1])
    assert run(benchmark, "--set", "slow=0.15", "--batch-size", "6")[0] == 0
    assert out.read_bytes().startswith(written)
    assert len(read_hypotheses(out)) == 12


def test_two_runs_into_one_file_are_refused(benchmark, capsys):
    import fcntl

    _, out = run(benchmark, "--langs", "hi")
    with out.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run(benchmark)[0] == 2
    assert "another run is writing to it" in capsys.readouterr().err


def test_fields_of_the_transcriber_are_read_as_their_types(benchmark, capsys):
    given = ["slow=0.0", "loud=True", "mode=fast", "words=3", "note=12"]
    assert run(benchmark, "--set", *given)[0] == 0
    assert (
        "heard: Deaf(name='deaf', slow=0.0, loud=True, mode='fast', words=3, note='12')"
        in capsys.readouterr().out
    )
    assert run(benchmark, "--set", "words=null", "note=null", out="none.jsonl")[0] == 0
    assert "words=None, note='null'" in capsys.readouterr().out
    assert run(benchmark, "--set", "slow=very", out="other.jsonl")[0] == 2
    assert "`slow` must be of type float, got 'very'" in capsys.readouterr().err


def test_what_cannot_be_read_is_said_and_can_be_asked_for(benchmark, capsys):
    text = benchmark.read_text().replace('lang: "{lang}"', 'lang: "{lang}", broken: 2')
    benchmark.write_text(text)
    status, out = run(benchmark)
    assert status == 0
    error = capsys.readouterr().err
    assert "left out: u2: holds no sound" in error
    assert f"score {out} --refs {out.with_suffix('.refs')}" in error
    assert len(read_hypotheses(out)) == 10
    assert len(out.with_suffix(".refs").read_text().splitlines()) == 12
    assert main(["score", str(out), "--refs", str(out.with_suffix(".refs"))]) == 2


def test_a_changed_reference_is_refused(benchmark, registered, capsys):
    run(benchmark)
    code = (registered / "tones_plugins.py").read_text(encoding="utf-8")
    (registered / "tones_plugins.py").write_text(code.replace("दुनिया", "जगत "), encoding="utf-8")
    sys.modules.pop("tones_plugins")
    assert run(benchmark)[0] == 2
    assert "the reference of 'Tones/hi/u0' has changed since" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--langs", "te"], "no te in it; its languages are hi, ta"),
        (["--langs", "hi,te"], "no te in it; its languages are hi, ta"),
        (["--subsets", "other"], "no other in it; its languages are hi, ta"),
        (["--system", "no_such_module:Class"], "transcriber 'no_such_module:Class': No module named"),
        (["--system", "json:Nope"], "transcriber 'json:Nope': module 'json' has no attribute 'Nope'"),
        (["--system", "json:loads"], "transcriber 'json:loads' is no plugin: a dataclass with `build("),
        (["--root", "/nowhere"], "/nowhere is missing; it is to be had at https://example.org/tones"),
        (["--warmup", "-1"], "`warmup` must be 0 or more, got -1"),
        (["--model", "/no/such/model"], "/no/such/model: no such model"),
    ],
)
def test_a_mistake_is_one_line(benchmark, capsys, arguments, message):
    assert run(benchmark, *arguments)[0] == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_warm_up_batches_are_transcribed_twice_and_timed_once(registered):
    from maya_eval.sources import Utterance
    from maya_eval.transcribing import RunReport, Worker

    class Counting:
        def __init__(self):
            self.calls = 0

        def transcribe(self, audio, langs, batch_size):
            self.calls += 1
            time.sleep(0.2 if self.calls == 1 else 0.0)
            return [type("Out", (), {"text": "x", "pred_lang": "hi"})() for _ in audio]

    item = Utterance(
        utt_id="a", lang="hi", text="x", duration=0.0, speaker=None, read=lambda: np.ones(1600, np.int16)
    )
    counting, report = Counting(), RunReport()
    worker = Worker(counting, "cpu", 1, warmup=1)
    lines = [line for _ in range(2) for line in worker.lines([item], {"system": "s"}, report)]
    assert counting.calls == 3
    assert report.work_seconds < 0.1
    assert [line.duration for line in lines] == [0.1, 0.1]  # from the samples, where the source does not say
    assert lines[0].extra["pred_lang"] == "hi"
    assert lines[0].extra["warmup_batches"] == 1
