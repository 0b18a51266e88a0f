"""The benchmarks of configs/benchmark, read by maya-data's readers from tiny folders laid out as they say."""

import io
import json
import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_eval.benchmarks import load_benchmark
from maya_eval.cli import main
from maya_eval.clips import read_clips
from maya_eval.hypotheses import read_hypotheses
from maya_eval.sources import benchmark_source

CONFIGS = Path(__file__).parents[2] / "configs"
RATE = 16000


def encoded(seconds, kind="FLAC"):
    samples = np.random.default_rng(0).normal(0, 2000, round(seconds * RATE)).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=kind)
    return buffer.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def put_parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def utterances(name, root, **choice):
    found = benchmark_source(load_benchmark(name, root=root, configs=CONFIGS, **choice)).utterances
    return {item.utt_id: item for item in found}


@dataclass(kw_only=True)
class Echo:
    """A transcriber that writes how many samples it hears."""

    name: str = "echo"

    def build(self, model, device):
        return self

    def transcribe(self, audio, langs, batch_size):
        return [SimpleNamespace(text=str(len(samples))) for samples in audio]


def kathbath(root):
    for folder in ("test_known", "test_unknown"):
        put(
            root / f"data/hindi/{folder}/transcription_n2w.txt",
            "84442-594-f.m4a\tनमस्ते\n84443-12-m.m4a\tदुनिया\n",
        )
        for name in ("84442-594-f", "84443-12-m"):
            put(root / f"data/hindi/{folder}/{name}.m4a", encoded(0.2, "WAV"))


def test_kathbath(tmp_path):
    kathbath(tmp_path)
    found = utterances("kathbath", tmp_path, langs=["hi"])
    assert len(found) == 4
    item = found["Kathbath/test_known/hi/84442-594-f"]
    assert (item.text, item.speaker, item.lang, item.duration) == ("नमस्ते", "594", "hi", 0.2)
    assert len(item.read()) == 3200


def test_kathbath_noisy(tmp_path):
    kathbath(tmp_path)
    assert len(utterances("kathbath_noisy", tmp_path, langs=["hi"], sets=["test_known"])) == 2


def vistaar(root):
    for name in ("kathbath", "mucs"):
        put(root / f"{name}/hindi/transcript.txt", "a.wav\tएक\nb\tदो तीन\n")
        for clip in "ab":
            put(root / f"{name}/hindi/audio/{clip}.wav", encoded(0.1, "WAV"))


def test_vistaar(tmp_path):
    vistaar(tmp_path)
    found = utterances("vistaar", tmp_path, langs=["hi"], sets=["Kathbath", "MUCS"])
    assert found["Vistaar/MUCS/hi/b"].text == "दो तीन"
    assert len(found) == 4
    assert all(len(item.read()) == 1600 for item in found.values())


def librispeech(root):
    put(root / "test-clean/61/70/61-70.trans.txt", "61-70-0000 HE BEGAN\n61-70-0001 IT WAS\n")
    for number in (0, 1):
        put(root / f"test-clean/61/70/61-70-000{number}.flac", encoded(0.1))


def test_librispeech(tmp_path):
    librispeech(tmp_path)
    found = utterances("librispeech", tmp_path, sets=["clean"])
    assert utterances("librispeech", tmp_path, sets=["LibriSpeech-clean"]).keys() == found.keys()
    assert [(item.text, item.speaker) for item in found.values()] == [("HE BEGAN", "61"), ("IT WAS", "61")]


def lahaja(root):
    header = "audio_filepath,verbatim,normalized,text,duration,scenario,native_language,gender\n"
    put(root / "meta-data-lahaja.csv", header + 'x.wav,"[um] एक, दो",एक दो,t,0.1,Extempore,Tamil,F\n')
    put(root / "audio/x.wav", encoded(0.1, "WAV"))


def test_lahaja_keeps_the_columns_to_group_by(tmp_path):
    lahaja(tmp_path)
    (item,) = utterances("lahaja", tmp_path).values()
    assert (item.text, item.columns["native_language"], item.columns["gender"]) == ("एक दो", "Tamil", "F")
    assert len(item.read()) == 1600


def manifest(root, **more):
    line = json.dumps({**more, "audio_filepath": "audio/1.wav", "duration": 0.1, "text": "hello"})
    put(root / "svarah_manifest.json", line + "\n")
    put(root / "audio/1.wav", encoded(0.1, "WAV"))


def test_svarah_and_nemo(tmp_path):
    manifest(tmp_path)
    (item,) = utterances("svarah", tmp_path).values()
    assert (item.text, item.lang, len(item.read())) == ("hello", "en", 1600)
    manifest(tmp_path, lang="ta")
    (item,) = utterances("nemo", tmp_path).values()
    assert (item.lang, len(item.read())) == ("ta", 1600)


def fleurs(root):
    rows = [
        {
            "id": 1,
            "num_samples": 1600,
            "path": f"{n}.wav",
            "audio": {"bytes": encoded(0.1, "WAV"), "path": f"{n}.wav"},
            "transcription": f"text {n}",
        }
        for n in range(2)
    ]
    put_parquet(root / "hi_in/test/0000.parquet", rows)


def test_fleurs(tmp_path):
    fleurs(tmp_path)
    found = utterances("fleurs", tmp_path, langs=["hi"])
    assert {name.rsplit("/", 1)[-1]: item.text for name, item in found.items()} == {
        "0": "text 0",
        "1": "text 1",
    }
    assert all(len(item.read()) == 1600 for item in found.values())


def indicvoices(root):
    row = {
        "audio_filepath": {"bytes": encoded(0.1), "path": "x.flac"},
        "duration": 0.1,
        "lang": "hi",
        "verbatim": "[noise] v",
        "normalized": "n",
        "speaker_id": "S1",
        "scenario": "Extempore",
        "task_name": "DOI",
    }
    put_parquet(root / "hindi/valid-00000-of-00001.parquet", [row])


def test_indicvoices_keeps_the_columns_to_group_by(tmp_path):
    indicvoices(tmp_path)
    (item,) = utterances("indicvoices", tmp_path, langs=["hi"]).values()
    assert (item.text, item.speaker) == ("n", "S1")
    assert (item.columns["domain"], item.columns["task_name"]) == ("Extempore", "DOI")
    assert len(item.read()) == 1600


def common_voice(root):
    header = "client_id\tpath\tsentence_id\tsentence\tlocale\n"
    put(root / "pa-IN/test.tsv", header + 'c\tclip_1.mp3\ts\t"ਸਤ\tpa-IN\nc\tclip_2.mp3\ts\tਸ੍ਰੀ\tpa-IN\n')
    for number in (1, 2):
        put(root / f"pa-IN/clips/clip_{number}.mp3", encoded(0.5, "MP3"))


def test_common_voice(tmp_path):
    common_voice(tmp_path)
    found = utterances("common_voice", tmp_path, langs=["pa"])
    assert [item.text for item in found.values()] == ['"ਸਤ', "ਸ੍ਰੀ"]
    assert all(item.lang == "pa" and len(item.read()) > 7000 for item in found.values())


def final_export(root):
    shard, sound = root / "lang=hi/000000", encoded(0.1)
    shard.mkdir(parents=True)
    with tarfile.open(shard / "audio.tar", "w") as tar:
        member = tarfile.TarInfo("s1.flac")
        member.size = len(sound)
        tar.addfile(member, io.BytesIO(sound))
    put_parquet(shard / "audio_index.parquet", [{"segment_id": "s1", "member": "s1.flac"}])
    row = {"segment_id": "s1", "text": "नमस्ते", "duration": 0.1, "num_samples": 1600, "sample_rate": RATE}
    put_parquet(shard / "metadata.parquet", [row])
    put(shard / "manifest.json", json.dumps({"corpus": "mine", "segments": 1}))


LAYOUTS = {
    "common_voice": (common_voice, ["--langs", "pa"], 2),
    "final_export": (final_export, [], 1),
    "fleurs": (fleurs, ["--langs", "hi"], 2),
    "indicvoices": (indicvoices, ["--langs", "hi"], 1),
    "kathbath": (kathbath, ["--langs", "hi"], 4),
    "kathbath_noisy": (kathbath, ["--langs", "hi", "--subsets", "test_known"], 2),
    "lahaja": (lahaja, [], 1),
    "librispeech": (librispeech, ["--subsets", "clean"], 2),
    "nemo": (partial(manifest, lang="ta"), [], 1),
    "svarah": (manifest, [], 1),
    "vistaar": (vistaar, ["--langs", "hi", "--subsets", "Kathbath,MUCS"], 4),
}


def test_every_benchmark_has_a_layout_here():
    assert LAYOUTS.keys() == {path.stem for path in (CONFIGS / "benchmark").glob("*.yaml")}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_run_over_each_benchmark_is_scored_and_reported(name, tmp_path, capsys):
    make, choice, count = LAYOUTS[name]
    make(tmp_path / "data")
    out = tmp_path / "out" / f"{name}.jsonl"
    source = ["--benchmark", name, "--root", str(tmp_path / "data"), "--configs", str(CONFIGS), *choice]
    assert main(["run", "--system", f"{__name__}:Echo", "--model", "none", *source, "--out", str(out)]) == 0
    rows = read_hypotheses(out)
    assert len(rows) == count
    assert all(int(row.pred_text) > 0 and row.duration > 0 and row.column("benchmark") for row in rows)
    assert len(read_clips(out)) == count
    assert main(["score", str(out)]) == 0
    assert main(["report", str(out), "--out", str(tmp_path / "report")]) == 0
    assert "Leaderboard" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_benchmark_that_is_not_there_says_where_it_is_to_be_had(name, tmp_path, capsys):
    source = ["--benchmark", name, "--root", str(tmp_path / "none"), "--configs", str(CONFIGS)]
    assert main(["run", "--system", f"{__name__}:Echo", "--model", "none", *source, "--out", "h.jsonl"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "none is missing; it is to be had at" in error
    assert "http" in error or "your own" in error


def test_every_benchmark_names_a_reader_and_its_settings():
    for path in sorted((CONFIGS / "benchmark").glob("*.yaml")):
        benchmark = load_benchmark(str(path))
        assert benchmark.parts
        for part in benchmark.parts:
            assert callable(benchmark._reader(part).build)


def test_damaged_line_of_a_benchmark_is_told(tmp_path, caplog):
    put(tmp_path / "mucs/hindi/transcript.txt", "a.wav\tएक\nb\tदो\nbroken\n")
    for clip in "ab":
        put(tmp_path / f"mucs/hindi/audio/{clip}.wav", encoded(0.1, "WAV"))
    assert len(utterances("vistaar", tmp_path, langs=["hi"], sets=["MUCS"])) == 2
    assert "transcript.txt line 3" in caplog.text
