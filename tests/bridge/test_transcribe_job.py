"""Batches, long files and the journal, with a model that writes how much it was given."""

import numpy as np
import pytest
import soundfile

from maya_bridge.hypothesis import SpeechHypothesis
from maya_bridge.transcribe_files import opening
from maya_bridge.transcribe_files.batching import MOST_SECONDS, Measured, batches, measured
from maya_bridge.transcribe_files.inputs import Source, sources
from maya_bridge.transcribe_files.job import Job, Orders
from maya_bridge.transcribe_files.resume import Journal
from maya_encoder.hypothesis import Word


class Counting:
    """Writes the number of samples it hears; refuses a sample of 0.5 and stops for one of 0.25."""

    def __init__(self):
        self.calls = []

    def transcribe(self, audio, langs, *, decode, batch_size, hotwords, words):
        self.calls.append([len(waveform) for waveform in audio])
        if any((waveform == 0.25).any() for waveform in audio):
            raise KeyboardInterrupt
        if any((waveform == 0.5).any() for waveform in audio):
            raise ValueError("it does not fit")
        return [self.heard(len(waveform) / 16000) for waveform in audio]

    def heard(self, seconds):
        words = [Word("w", 0.0, seconds, 1.0)]
        return SpeechHypothesis(f"{round(seconds * 10)}", "hi", "llm", seconds, words=words, passes=1)


def write(path, seconds, sample=0.0):
    waveform = np.zeros(round(seconds * 16000), dtype=np.float32)
    waveform[-1] = sample
    soundfile.write(path, waveform, 16000, subtype="FLOAT")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "PART", 4.0)
    monkeypatch.setattr(opening, "QUIET", 2.0)
    audio = tmp_path / "audio"
    audio.mkdir()
    for number, seconds in enumerate((3.0, 1.0, 2.0, 0.5)):
        write(audio / f"{number}.wav", seconds)
    return audio


def transcribed(model, folder, journal=None, orders=None, seconds=None):
    files = [measured(source) for source in sources([str(folder)], None)]
    job = Job(
        model,
        Orders(lang="hi", batch_size=2),
        Journal(journal, orders or {"lang": "hi"}),
        (seconds if seconds is not None else []).append,
    )
    return {found.source.path.name: found for found in job.transcripts(files)}


def texts(found):
    return {name: one.hypothesis.text if one.hypothesis else None for name, one in found.items()}


EXPECTED = {"0.wav": "30", "1.wav": "10", "2.wav": "20", "3.wav": "5"}


def test_files_of_like_length_go_together_and_come_back_in_order(folder):
    model, seconds = Counting(), []

    found = transcribed(model, folder, seconds=seconds)

    assert list(texts(found).items()) == list(EXPECTED.items())
    assert model.calls == [[8000, 16000], [32000, 48000]]
    assert sum(seconds) == 6.5


def test_a_batch_is_bounded_in_seconds_too():
    files = [Measured(Source(None, str(n), str(n)), 100.0 + n) for n in range(20)]

    found = list(batches(files, 16))

    assert sum(map(len, found)) == 20
    assert all(len(batch) * batch[-1].seconds <= MOST_SECONDS for batch in found)


def test_a_long_file_is_heard_in_parts_and_told_as_one(folder):
    write(folder / "long.wav", 11.0)
    model = Counting()

    found = transcribed(model, folder)["long.wav"].hypothesis

    assert all(size <= 4 * 16000 for call in model.calls for size in call)
    assert found.duration == 11.0
    assert found.passes == len(found.words) == len(found.text.split()) >= 3
    assert found.words[-1].end == 11.0
    assert [word.start for word in found.words[1:]] == pytest.approx([word.end for word in found.words[:-1]])


@pytest.mark.parametrize("content", [b"", b"no sound"])
def test_a_bad_file_fails_alone(content, folder):
    (folder / "bad.wav").write_bytes(content)
    write(folder / "odd.wav", 1.0, sample=0.5)

    found = transcribed(Counting(), folder)

    assert texts(found) == {**EXPECTED, "bad.wav": None, "odd.wav": None}
    assert "bad.wav" in found["bad.wav"].mistake
    assert found["odd.wav"].mistake == f"{folder / 'odd.wav'}: it does not fit"


def test_finished_files_are_not_done_again(folder, tmp_path):
    first = transcribed(Counting(), folder, tmp_path / "journal")
    write(folder / "1.wav", 1.5)
    model = Counting()

    again = transcribed(model, folder, tmp_path / "journal")

    assert model.calls == [[24000]]
    assert texts(again) == {**EXPECTED, "1.wav": "15"}
    assert again["0.wav"].hypothesis == first["0.wav"].hypothesis


def test_other_orders_are_other_work(folder, tmp_path):
    transcribed(Counting(), folder, tmp_path / "journal")
    model = Counting()

    transcribed(model, folder, tmp_path / "journal", orders={"lang": "ta"})

    assert len(model.calls) == 2


def test_a_long_file_goes_on_where_it_was_stopped(tmp_path, folder):
    audio = tmp_path / "long"
    audio.mkdir()
    write(audio / "long.wav", 11.0, sample=0.25)
    model = Counting()
    with pytest.raises(KeyboardInterrupt):
        transcribed(model, audio, tmp_path / "journal")
    whole = [size for call in model.calls for size in call]
    model.transcribe = lambda audio, *_, **__: [model.heard(len(one) / 16000) for one in audio]

    found = transcribed(model, audio, tmp_path / "journal")["long.wav"].hypothesis

    assert model.calls == [[size] for size in whole]
    assert found.text.split() == [str(round(size / 1600)) for size in whole]
    assert found.words[-1].end == 11.0


def damaged(content, how, draw):
    if how == "cut":
        return content[: draw.integers(1, len(content))]
    if how == "garbage":
        return bytes(draw.integers(0, 256, 500, dtype=np.uint8)) + b"\n" + content
    flipped = bytearray(content)
    for place in draw.integers(0, len(content), 4):
        flipped[place] ^= 1 << draw.integers(0, 8)
    return bytes(flipped)


@pytest.mark.parametrize("how", ["cut", "garbage", "flipped"])
def test_a_damaged_journal_is_passed_over_and_mended(how, folder, tmp_path):
    write(folder / "long.wav", 11.0)
    path = tmp_path / "journal"
    expected = {name: one.hypothesis for name, one in transcribed(Counting(), folder, path).items()}
    content = path.read_bytes()
    for seed in range(8):
        path.write_bytes(damaged(content, how, np.random.default_rng(seed)))
        found = transcribed(Counting(), folder, path)
        assert {name: one.hypothesis for name, one in found.items()} == expected
        model = Counting()
        transcribed(model, folder, path)
        assert model.calls == []
