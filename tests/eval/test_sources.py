import io
import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import soundfile

from maya_eval.audio import SAMPLING_RATE, UnreadableAudio, row_audio
from maya_eval.benchmarks import BenchmarkError, load_benchmark
from maya_eval.sources import benchmark_source

SAMPLES = (3000 * np.sin(np.arange(8000) / 7)).astype(np.int16)


class _Reader:
    root = None


def encoded(kind="FLAC", rate=SAMPLING_RATE, samples=SAMPLES):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind)
    return file.getvalue()


def test_sound_is_read_from_wherever_a_row_says(tmp_path):
    reader = _Reader()
    reader.root = tmp_path
    (tmp_path / "a.flac").write_bytes(encoded())
    shard = b"x" * 100 + encoded() + b"y" * 100
    (tmp_path / "audio.tar").write_bytes(shard)
    rows = [
        {"id": "file", "shard": "a.flac"},
        {"id": "range", "shard": "audio.tar", "offset": 100, "size": len(shard) - 200},
        {"id": "bytes", "audio": encoded("WAV")},
        {"id": "parquet", "audio": {"bytes": encoded(), "path": "a.flac"}},
        {"id": "array", "audio": SAMPLES, "sampling_rate": 16000},
        {"id": "floats", "audio": {"array": SAMPLES / 32768, "sampling_rate": 16000}},
    ]
    for row in rows:
        assert np.array_equal(row_audio(reader, row), SAMPLES), row["id"]
    with pytest.raises(UnreadableAudio):
        row_audio(reader, {"id": "short", "shard": "audio.tar", "offset": 100, "size": 60})


def test_a_reader_may_read_its_sound_itself():
    class Own:
        def read_audio(self, row):
            return np.stack([SAMPLES, SAMPLES]), 16000

    assert np.array_equal(row_audio(Own(), {"id": "a"}), SAMPLES)


def test_other_rates_are_resampled():
    assert abs(len(row_audio(_Reader(), {"id": "a", "audio": encoded(rate=8000)})) - 16000) <= 1


FFMPEG = """#!{python}
import sys
arguments = sys.argv[1:]
content = open(arguments[arguments.index("-i") + 1], "rb").read()
if content != b"an m4a":
    sys.exit("Invalid data found")
assert arguments[arguments.index("-f"):] == ["-f", "s16le", "-ac", "1", "-ar", "16000", "pipe:1"]
sys.stdout.buffer.write(bytes([1, 0, 2, 0]))
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Stands for ffmpeg: knows one file."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_what_libsndfile_does_not_know_goes_to_ffmpeg(ffmpeg):
    assert row_audio(_Reader(), {"id": "a", "audio": b"an m4a"}).tolist() == [1, 2]
    with pytest.raises(UnreadableAudio, match="ffmpeg: Invalid data found"):
        row_audio(_Reader(), {"id": "a", "audio": b"noise"})


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not on the PATH; a stand-in was tried")
def test_the_real_ffmpeg_reads_m4a(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded("WAV"))
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / "a.m4a"], check=True)
    reader = _Reader()
    reader.root = tmp_path
    assert len(row_audio(reader, {"id": "a", "shard": "a.m4a"})) >= 8000


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"audio": b"not sound"}, "cannot be decoded"),
        ({"shard": "gone.flac"}, "cannot be decoded"),
        ({}, "neither `audio` nor `shard`"),
        ({"audio": encoded("WAV", samples=SAMPLES[:0])}, "holds no sound"),
    ],
)
def test_unreadable_sound_names_its_row(row, reason, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnreadableAudio, match=f"^u7: .*{reason}"):
        row_audio(_Reader(), {"id": "u7", **row})


@pytest.fixture
def shards(tmp_path):
    """Two languages in the final-export layout."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for lang, text in (("hi", "नमस्ते"), ("ta", "வணக்கம்")):
        folder = tmp_path / f"lang={lang}" / "000"
        folder.mkdir(parents=True)
        with tarfile.open(folder / "audio.tar", "w") as tar:
            for i in range(2):
                content = encoded(samples=SAMPLES[: 4000 * (i + 1)])
                member = tarfile.TarInfo(f"{lang}{i}.flac")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        ids = [f"{lang}0", f"{lang}1"]
        pq.write_table(pa.table({"segment_id": ids}), folder / "audio_index.parquet")
        columns = {"segment_id": ids, "text": [text, text], "speaker": ["a", "b"]}
        pq.write_table(pa.table(columns), folder / "metadata.parquet")
        (folder / "manifest.json").write_text(json.dumps({"corpus": "c"}))
    return tmp_path


def test_shards_in_the_final_export_layout_are_a_benchmark(shards):
    source = benchmark_source(load_benchmark("final_export", root=shards))
    assert sorted(item.utt_id for item in source.utterances) == ["hi0", "hi1", "ta0", "ta1"]
    assert [item.duration for item in source.utterances] == [0.25, 0.25, 0.5, 0.5]
    item = next(item for item in source.utterances if item.utt_id == "ta1")
    assert (item.lang, item.text, item.speaker) == ("ta", "வணக்கம்", "b")
    assert item.columns == {"benchmark": "final_export", "corpus": "c"}
    assert np.array_equal(item.read(), SAMPLES)


def test_languages_are_chosen_where_the_rows_name_theirs(shards):
    source = benchmark_source(load_benchmark("final_export", root=shards, langs=["hi"]))
    assert {item.lang for item in source.utterances} == {"hi"}
    with pytest.raises(BenchmarkError, match="the reader found no utterance"):
        benchmark_source(load_benchmark("final_export", root=shards, langs=["te"]))


def test_errors_of_a_reader_name_the_benchmark(tmp_path):
    with pytest.raises(BenchmarkError, match=r"benchmark final_export: .*no shards under"):
        benchmark_source(load_benchmark("final_export", root=tmp_path))


class _Rows:
    def __init__(self, rows):
        self.rows = rows

    def build(self):
        return iter(self.rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a", "text": "x", "lang": "hi"}] * 2, "gave the id 'a' twice"),
        ([{"id": "a", "text": "x"}], "a row needs `id`, `text` and `lang`"),
        ([{"id": "a", "lang": "hi", "text": None}], "a row needs `id`, `text` and `lang`"),
        ([], "the reader found no utterance"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(tmp_path, monkeypatch, rows, message):
    benchmark = load_benchmark("final_export", root=tmp_path)
    monkeypatch.setattr(type(benchmark), "open", lambda self: [(self.parts[0], _Rows(rows))])
    with pytest.raises(BenchmarkError, match=message):
        benchmark_source(benchmark)
