"""Every config of configs/reader, on a tiny folder laid out as its corpus is published."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_data.indexing.build import build_index
from maya_data.indexing.sources import read_sources
from maya_data.readers import SCHEMA

CONFIGS = Path(__file__).parents[2] / "configs" / "reader"
GUIDE = (
    *("final_export", "indicvoices", "indicvoices_r", "josh", "joshdelivery", "globe"),
    *("ears", "expresso", "librittsr", "ljspeech", "vctk"),
)


def encoded(seconds=0.1, rate=16000, kind="WAV"):
    samples = np.random.default_rng(0).normal(0, 2000, round(seconds * rate)).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def put_parquet(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def ljspeech(root):
    put(root / "ljspeech/LJSpeech-1.1/metadata.csv", 'LJ001-0001|No. 1, "so|Number one, "so\n')
    put(root / "ljspeech/LJSpeech-1.1/wavs/LJ001-0001.wav", encoded(rate=22050))
    return [("LJ001-0001", 'Number one, "so', "en", "LJ", "")]


def librittsr(root):
    folder = root / "librittsr/LibriTTS_R/train-clean-100/84/121123"
    put(folder / "84_121123.trans.tsv", '84_121123_000007_000001\t"Max"\t"Maximilian"\n')
    put(folder / "84_121123_000007_000001.wav", encoded(rate=24000))
    put(root / "librittsr/LibriTTS_R/test-clean/1/2/1_2.trans.tsv", "1_2_3_4\ta\tb\n")
    return [("84_121123_000007_000001", '"Maximilian"', "en", "84", "")]


def vctk(root):
    put(root / "vctk/txt/p225/p225_001.txt", "Please call Stella.\n")
    put(root / "vctk/txt/s5/s5_001.txt", "Please call Stella.\n")
    put(root / "vctk/txt/p315/p315_001.txt", "No sound.\n")
    for name in ("p225/p225_001_mic1", "p225/p225_001_mic2", "s5/s5_001_mic1"):
        put(root / f"vctk/wav48_silence_trimmed/{name}.flac", encoded(rate=48000, kind="FLAC"))
    return [
        ("p225_001", "Please call Stella.", "en", "p225", ""),
        ("s5_001", "Please call Stella.", "en", "s5", ""),
    ]


def ears(root):
    put(root / "ears/transcripts.json", json.dumps({"emo_joy_sentences": "Yes!", "rainbow_01_fast": "When"}))
    for name in ("p001/emo_joy_sentences", "p002/emo_joy_sentences", "p002/freeform_speech_01"):
        put(root / f"ears/{name}.wav", encoded(rate=48000))
    return [
        ("p001_emo_joy_sentences", "Yes!", "en", "p001", "emo"),
        ("p002_emo_joy_sentences", "Yes!", "en", "p002", "emo"),
    ]


def expresso(root):
    put(
        root / "expresso/read_transcriptions.txt",
        "ex01_confused_00001\tWhat?\nex03_default_emphasis_00010\t*That*\nex03_default_longform_00001\tLong\n",
    )
    audio = root / "expresso/audio_48khz/read"
    put(audio / "ex01/confused/base/ex01_confused_00001.wav", encoded(rate=48000))
    put(audio / "ex03/default/base/ex03_default_emphasis_00010.wav", encoded(rate=48000))
    put(audio / "ex03/default/longform/ex03_default_longform_00001.wav", encoded(rate=48000))
    return [
        ("ex01_confused_00001", "What?", "en", "ex01", "confused"),
        ("ex03_default_emphasis_00010", "*That*", "en", "ex03", "default"),
        ("ex03_default_longform_00001", "Long", "en", "ex03", "default"),
    ]


def globe(root):
    sound = {"bytes": encoded(), "path": "common_voice_en_1.wav"}
    row = {"audio": sound, "speaker_id": "S_1", "transcript": "Hi", "accent": "Scottish", "duration": 0.1}
    put_parquet(root / "globe/data/train-00000-of-00001.parquet", {**row, "age": "teens", "gender": "female"})
    put_parquet(root / "globe/data/test-00000-of-00001.parquet", row)
    return [("common_voice_en_1", "Hi", "en", "S_1", "Scottish")]


def voices(folder, audio, name):
    sound = {"bytes": encoded(kind="FLAC"), "path": "a.flac"}
    row = {audio: sound, "text": "t", "duration": 0.1, "lang": "hi", "samples": 1600, "verbatim": "v"}
    row |= {"normalized": "नमस्ते", "speaker_id": "S1", "scenario": "Read", "task_name": "x", "district": "y"}
    put_parquet(folder / name / "train-00000-of-00001.parquet", row)
    put_parquet(folder / "Bodo" / "train-00000-of-00001.parquet", {**row, "lang": "brx"})
    return [("a", "नमस्ते", "hi", "S1", "Read")]


def indicvoices(root):
    return voices(root / "indicvoices", "audio_filepath", "hindi")


def indicvoices_r(root):
    return voices(root / "indicvoices-r", "audio", "Hindi")


def kathbath(root):
    sound = {"bytes": encoded(), "path": "844-594-f.wav"}
    put_parquet(root / "kathbath/tamil/train-0.parquet", {"audio_filepath": sound, "text": "வணக்கம்"})
    return [("844-594-f", "வணக்கம்", "ta", "", "")]


def fleurs(root):
    row = {"id": 1, "num_samples": 1600, "path": "17.wav", "audio": {"bytes": encoded(), "path": "17.wav"}}
    put_parquet(
        root / "fleurs/te_in/train/0000.parquet", {**row, "transcription": "t", "raw_transcription": "T."}
    )
    return [("17", "t", "te", "", "")]


def common_voice(root):
    header = "client_id\tpath\tsentence_id\tsentence\tlocale\n"
    put(root / "common_voice/pa-IN/train.tsv", header + 'c\tclip_1.mp3\ts\t"ਸਤ\tpa-IN\n')
    put(root / "common_voice/pa-IN/clips/clip_1.mp3", encoded(0.5, kind="MP3"))
    return [("clip_1", '"ਸਤ', "pa", "c", "")]


def josh(root, name="josh"):
    put(root / name / "marathi/metadata.tsv", "path\ttext\tspeaker\nclips/a.wav\tएक\ts1\n")
    put(root / name / "marathi/clips/a.wav", encoded())
    return [("clips/a", "एक", "mr", "s1", "")]


def joshdelivery(root):
    return josh(root, "joshdelivery")


LAYOUTS = (
    *(ljspeech, librittsr, vctk, ears, expresso, globe, indicvoices, indicvoices_r),
    *(kathbath, fleurs, common_voice, josh, joshdelivery),
)


def test_every_source_of_the_guide_has_a_config():
    assert {*GUIDE} <= {path.stem for path in CONFIGS.glob("*.yaml")}


def sources(tmp_path, *names):
    text = json.dumps({"sources": {name: {"config": name} for name in names}})
    (tmp_path / "sources.yaml").write_text(text)
    return read_sources(tmp_path / "sources.yaml")


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parents[1])
    monkeypatch.setenv("MAYA_CORPORA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_config_reads_the_layout_as_published(corpora, layout):
    expected = layout(corpora)
    (source,) = sources(corpora, layout.__name__)
    reader = pickle.loads(pickle.dumps(source.open()))
    rows = list(reader.build())
    said = [(row["id"], row["text"], row["lang"], row["speaker"], row["domain"]) for row in rows]
    assert said == expected
    assert {row["corpus"] for row in rows} == {source.settings.get("corpus", "common_voice")}
    for row in rows:
        samples, rate = reader.read_audio(row)
        assert rate == row["sampling_rate"]
        assert len(samples) / rate == pytest.approx(row["duration"], abs=0.01)
    for shard in reader.shards():
        assert reader.signature(shard) == reader.signature(shard)
        assert reader.read_shard(shard).rows.schema == SCHEMA


def test_one_index_holds_all_corpora(corpora, tmp_path_factory):
    expected = [row for layout in LAYOUTS for row in layout(corpora)]
    index = build_index(
        sources(corpora, *(layout.__name__ for layout in LAYOUTS)), tmp_path_factory.mktemp("index")
    )
    assert [index.row(i).id for i in range(len(index))] == [row[0] for row in expected]
    assert not index.info["broken"]
    assert any("p315_001" in reason for reason in index.info["dropped"])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_config_opens_with_its_settings(path, tmp_path):
    (source,) = sources(tmp_path, path.stem)
    assert source.open().name == source.reader
