import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from maya_eval import harness
from maya_eval.hypotheses import read_hypotheses


class CorruptAudio(ValueError):
    """Stands for the reader's error."""


class _Index:
    durations = np.array([3.0, 1.0, 2.0, 4.0])
    fingerprint = "f"

    def row(self, i):
        return SimpleNamespace(
            id=f"u{i}", lang="hi", text=f"क {i}", duration=float(self.durations[i]), speaker="v"
        )

    @classmethod
    def open(cls, path):
        return cls()


@dataclass(kw_only=True)
class Echo:
    """Writes how many samples it heard, and fails at its `fail_at`-th call."""

    name: str = "echo"
    fail_at: int = -1

    def build(self, model, device):
        self.calls = 0
        return self

    def transcribe(self, audio, langs, batch_size):
        self.calls += 1
        if self.calls == self.fail_at:
            raise RuntimeError("killed")
        return [
            SimpleNamespace(text=f"{lang} {len(waveform)}")
            for waveform, lang in zip(audio, langs, strict=True)
        ]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run over four segments, of which one cannot be decoded, with a stand-in for the reading package."""

    def read_audio(index, i, sampling_rate):
        if i == 3:
            raise CorruptAudio("shard x: segment u3 cannot be decoded")
        return np.zeros(int(index.durations[i] * sampling_rate), dtype=np.int16)

    for name, members in {
        "indexing.segments": {"open_index": _Index.open},
        "audio.fetch": {"read_audio": read_audio, "CorruptAudio": CorruptAudio},
    }.items():
        module = ModuleType(f"maya_data.{name}")
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, f"maya_data.{name}", module)
    monkeypatch.setattr(harness, "find", lambda kind, name, allow_path: Echo)
    return harness.RunConfig(
        model="m", index=tmp_path, out=tmp_path / "h.jsonl", transcriber="echo", batch_size=1
    )


def test_every_segment_is_written_with_its_raw_reference(config):
    report = harness.run(config)
    rows = {row.utt_id: row for row in read_hypotheses(config.out)}
    assert set(rows) == {"u0", "u1", "u2"}
    assert (rows["u2"].text, rows["u2"].pred_text, rows["u2"].speaker) == ("क 2", "hi 32000", "v")
    assert rows["u2"].elapsed is not None
    assert (report.new, report.kept) == (3, 0)
    assert report.skipped == ["shard x: segment u3 cannot be decoded"]


def test_a_killed_run_goes_on_where_it_was_despite_a_torn_line(config):
    config.options = {"fail_at": 3}
    with pytest.raises(RuntimeError, match="killed"):
        harness.run(config)
    whole = config.out.read_text()
    with config.out.open("a") as file:
        file.write('{"utt_id": "u0", "la')
    config.options = {"fail_at": 9}
    config.out.write_text(config.out.read_text().replace("fail_at=3", "fail_at=9"))
    report = harness.run(config)
    assert (report.kept, report.new) == (2, 1)
    assert config.out.read_text().startswith(whole.replace("fail_at=3", "fail_at=9"))
    assert len(read_hypotheses(config.out)) == 3


def test_a_finished_file_that_lacks_its_last_line_end_loses_nothing(config):
    harness.run(config)
    whole = config.out.read_text()
    config.out.write_text(whole.rstrip("\n"))
    assert harness.run(config).kept == 3
    assert config.out.read_text() == whole


def test_outputs_of_another_model_are_not_mixed_in(config):
    harness.run(config)
    config.model = "other"
    with pytest.raises(ValueError, match=r"h.jsonl holds outputs of echo with m; give this run another file"):
        harness.run(config)


@pytest.mark.parametrize("weights", ["model.safetensors", "llm/model.safetensors"])
def test_after_retraining_the_file_is_started_anew_and_says_so(config, tmp_path, capsys, weights):
    config.model = str(tmp_path / "model")
    path = tmp_path / "model" / weights
    path.parent.mkdir(parents=True)
    path.write_bytes(b"before")
    harness.run(config)
    assert harness.run(config).kept == 3
    assert "anew" not in capsys.readouterr().err
    path.write_bytes(b"behind")
    report = harness.run(config)
    assert (report.kept, report.new) == (0, 3)
    assert len(read_hypotheses(config.out)) == 3
    said = [line for line in capsys.readouterr().err.splitlines() if "anew" in line]
    assert said == [f"{config.out} is started anew: {config.model} or the index has changed since"]


def test_an_index_that_has_changed_starts_the_file_anew(config, monkeypatch):
    harness.run(config)
    monkeypatch.setattr(_Index, "fingerprint", "g")
    report = harness.run(config)
    assert (report.kept, report.new) == (0, 3)


def test_outputs_are_kept_while_the_new_transcriber_cannot_be_made(config, monkeypatch):
    harness.run(config)
    whole = config.out.read_text()
    monkeypatch.setattr(_Index, "fingerprint", "g")
    monkeypatch.setattr(Echo, "build", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        harness.run(config)
    assert config.out.read_text() == whole


def test_off_a_terminal_progress_is_a_plain_line_now_and_then(config, capsys):
    harness.run(config)
    assert capsys.readouterr().err.splitlines() == [
        f"transcribing: {done} of 4 utterances" for done in (1, 2, 3, 4)
    ]
    config.out.unlink()
    harness.run(config, progress=False)
    assert not capsys.readouterr().err


def test_many_batches_make_few_lines(capsys):
    assert len(list(harness._shown([[i] for i in range(95)], progress=True))) == 95
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= harness.LINES
    assert lines[-1] == "transcribing: 95 of 95 utterances"


def test_an_unknown_field_is_named(config):
    config.options = {"hed": "ctc"}
    with pytest.raises(ValueError, match="echo has no field 'hed'; it has: name, fail_at"):
        harness.run(config)


def test_without_the_extra_the_install_line_is_given(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "maya_data.indexing.segments", None)
    with pytest.raises(ImportError, match=r"pip install 'maya-eval\[run\]'"):
        harness.run(config)


def test_batch_size_is_checked(tmp_path):
    with pytest.raises(ValueError, match="`batch_size` must be 1 or more, got 0"):
        harness.RunConfig(model="m", index=tmp_path, out=tmp_path, batch_size=0)
