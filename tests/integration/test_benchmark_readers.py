"""The benchmarks of configs/benchmark, read by maya-data's readers from tiny folders laid out as they say."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from maya_eval.benchmarks import load_benchmark
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


def test_vistaar(tmp_path):
    for name in ("kathbath", "mucs"):
        put(tmp_path / f"{name}/hindi/transcript.txt", "a.wav\tएक\nb\tदो तीन\n")
        for clip in "ab":
            put(tmp_path / f"{name}/hindi/audio/{clip}.wav", encoded(0.1, "WAV"))
    found = utterances("vistaar", tmp_path, langs=["hi"], sets=["Kathbath", "MUCS"])
    assert found["Vistaar/MUCS/hi/b"].text == "दो तीन"
    assert len(found) == 4
    assert all(len(item.read()) == 1600 for item in found.values())


def test_librispeech(tmp_path):
    put(tmp_path / "test-clean/61/70/61-70.trans.txt", "61-70-0000 HE BEGAN\n61-70-0001 IT WAS\n")
    for number in (0, 1):
        put(tmp_path / f"test-clean/61/70/61-70-000{number}.flac", encoded(0.1))
    found = utterances("librispeech", tmp_path, sets=["LibriSpeech-clean"])
    assert [(item.text, item.speaker) for item in found.values()] == [("HE BEGAN", "61"), ("IT WAS", "61")]


def test_lahaja_keeps_the_columns_to_group_by(tmp_path):
    header = "audio_filepath,verbatim,normalized,text,duration,scenario,native_language,gender\n"
    put(tmp_path / "meta-data-lahaja.csv", header + 'x.wav,"[um] एक, दो",एक दो,t,0.1,Extempore,Tamil,F\n')
    put(tmp_path / "audio/x.wav", encoded(0.1, "WAV"))
    (item,) = utterances("lahaja", tmp_path).values()
    assert (item.text, item.columns["native_language"], item.columns["gender"]) == ("एक दो", "Tamil", "F")
    assert len(item.read()) == 1600


def test_svarah_and_nemo(tmp_path):
    line = json.dumps({"audio_filepath": "audio/1.wav", "duration": 0.1, "text": "hello"})
    put(tmp_path / "svarah_manifest.json", line + "\n")
    put(tmp_path / "audio/1.wav", encoded(0.1, "WAV"))
    (item,) = utterances("svarah", tmp_path).values()
    assert (item.text, item.lang, len(item.read())) == ("hello", "en", 1600)
    put(tmp_path / "svarah_manifest.json", line.replace("{", '{"lang": "ta", ', 1))
    (item,) = utterances("nemo", tmp_path).values()
    assert (item.lang, len(item.read())) == ("ta", 1600)


def test_fleurs(tmp_path):
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
    put_parquet(tmp_path / "hi_in/test/0000.parquet", rows)
    found = utterances("fleurs", tmp_path, langs=["hi"])
    assert {name.rsplit("/", 1)[-1]: item.text for name, item in found.items()} == {
        "0": "text 0",
        "1": "text 1",
    }
    assert all(len(item.read()) == 1600 for item in found.values())


def test_indicvoices_keeps_the_columns_to_group_by(tmp_path):
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
    put_parquet(tmp_path / "hindi/valid-00000-of-00001.parquet", [row])
    (item,) = utterances("indicvoices", tmp_path, langs=["hi"]).values()
    assert (item.text, item.speaker) == ("n", "S1")
    assert (item.columns["domain"], item.columns["task_name"]) == ("Extempore", "DOI")
    assert len(item.read()) == 1600


def test_common_voice(tmp_path):
    header = "client_id\tpath\tsentence_id\tsentence\tlocale\n"
    put(tmp_path / "pa-IN/test.tsv", header + 'c\tclip_1.mp3\ts\t"ਸਤ\tpa-IN\nc\tclip_2.mp3\ts\tਸ੍ਰੀ\tpa-IN\n')
    for number in (1, 2):
        put(tmp_path / f"pa-IN/clips/clip_{number}.mp3", encoded(0.5, "MP3"))
    found = utterances("common_voice", tmp_path, langs=["pa"])
    assert [item.text for item in found.values()] == ['"ਸਤ', "ਸ੍ਰੀ"]
    assert all(item.lang == "pa" and len(item.read()) > 7000 for item in found.values())


def test_every_benchmark_names_a_reader_and_its_settings():
    for path in sorted((CONFIGS / "benchmark").glob("*.yaml")):
        benchmark = load_benchmark(str(path))
        for part in benchmark.parts:
            benchmark._reader(part)


def test_damaged_line_of_a_benchmark_is_told(tmp_path, caplog):
    put(tmp_path / "mucs/hindi/transcript.txt", "a.wav\tएक\nb\tदो\nbroken\n")
    for clip in "ab":
        put(tmp_path / f"mucs/hindi/audio/{clip}.wav", encoded(0.1, "WAV"))
    assert len(utterances("vistaar", tmp_path, langs=["hi"], sets=["MUCS"])) == 2
    assert "transcript.txt line 3" in caplog.text
