import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_data.audio.fetch import read_row
from maya_data.readers import BrokenShard
from maya_data.readers.hf_parquet import HFParquet


def encoded(seconds=0.1, rate=16000, kind="FLAC"):
    samples = (
        np.random.default_rng(round(seconds * 1000)).normal(0, 2000, round(seconds * rate)).astype(np.int16)
    )
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()


def write(path, rows, features=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)


def recording(name, seconds=0.1, **options):
    return {"bytes": encoded(seconds, **options), "path": name}


FLEURS = [
    {
        "id": 7,
        "num_samples": 1600,
        "path": f"/home/someone/cache/{name}.wav",
        "audio": recording(f"{name}.wav"),
        "transcription": "नमस्ते",
        "raw_transcription": "नमस्ते।",
        "gender": 1,
        "lang_id": 3,
    }
    for name in ("123", "456")
]
LABELS = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "gender": {"names": ["male", "female"], "_type": "ClassLabel"},
}


def test_fleurs_rows_take_their_ids_from_the_path(tmp_path):
    write(tmp_path / "hi_in/test/0000.parquet", FLEURS, LABELS)
    columns = {"id": "path", "text": "transcription", "audio": "audio"}
    reader = HFParquet(root=str(tmp_path), files="*/test/*.parquet", columns=columns)
    rows = list(reader.build())
    assert [(row["id"], row["shard"], row["offset"]) for row in rows] == [
        ("123", "hi_in/test/0000.parquet#audio", 0),
        ("456", "hi_in/test/0000.parquet#audio", 1),
    ]
    assert (rows[0]["lang"], rows[0]["text"], rows[0]["gender"]) == ("hi", "नमस्ते", "female")
    assert (rows[0]["duration"], rows[0]["sampling_rate"], rows[0]["num_samples"]) == (0.1, 16000, 1600)
    assert len(reader.read_audio(rows[1])[0]) == 1600


def indicvoices(number, lang="hi"):
    return {
        "audio_filepath": recording(f"{number}.flac", 0.1 + number / 10, rate=8000),
        "text": f"text {number}",
        "duration": 0.1 + number / 10,
        "lang": lang,
        "samples": 1234567,
        "verbatim": "v",
        "normalized": f"normalized {number}",
        "speaker_id": "S1",
        "scenario": "Read",
    }


def test_indicvoices_columns_are_mapped_and_lengths_are_those_of_the_sound(tmp_path):
    write(
        tmp_path / "hindi/train-00000-of-00001.parquet", [indicvoices(n) for n in range(3)], row_group_size=2
    )
    columns = {"text": "normalized", "audio": "audio_filepath", "speaker": "speaker_id", "domain": "scenario"}
    rows = list(
        HFParquet(
            root=str(tmp_path), files="*/train-*.parquet", columns=columns, corpus="indicvoices"
        ).build()
    )
    assert [(row["text"], row["sampling_rate"], row["num_samples"]) for row in rows] == [
        ("normalized 0", 8000, 800),
        ("normalized 1", 8000, 1600),
        ("normalized 2", 8000, 2400),
    ]
    assert (rows[0]["speaker"], rows[0]["domain"], rows[0]["corpus"]) == ("S1", "Read", "indicvoices")
    assert rows[2]["size"] == len(encoded(0.3, 8000))
    assert len(read_row(str(tmp_path), rows[2])[0]) == 2400


def test_sound_is_not_touched_where_columns_and_features_tell_its_length(tmp_path, monkeypatch):
    features = {"audio_filepath": {"sampling_rate": 48000, "_type": "Audio"}}
    write(tmp_path / "Hindi/train-0.parquet", [indicvoices(n) for n in range(2)], features)
    monkeypatch.setattr(
        "maya_data.readers.hf_parquet.bytes_info", lambda data: pytest.fail("looked at the sound")
    )
    rows = list(HFParquet(root=str(tmp_path)).build())
    assert [(row["duration"], row["sampling_rate"], row["num_samples"]) for row in rows] == [
        (0.1, 48000, 4800),
        (0.2, 48000, 9600),
    ]
    monkeypatch.undo()
    exact = list(HFParquet(root=str(tmp_path), headers=True).build())
    assert [row["sampling_rate"] for row in exact] == [8000, 8000]


def test_rows_without_ids_are_named_by_their_recording_or_their_place(tmp_path):
    rows = [{"audio": recording(f"clip{n}.mp3"), "transcript": "a", "duration": 0.1} for n in range(2)]
    write(tmp_path / "data/train-0.parquet", rows)
    rows = [{"audio": recording("audio.wav"), "transcript": "a", "duration": 0.1} for n in range(2)]
    write(tmp_path / "data/train-1.parquet", rows)
    names = [row["id"] for row in HFParquet(root=str(tmp_path), lang="en").build()]
    assert names == ["clip0", "clip1", "data/train-1-000000", "data/train-1-000001"]


def test_bytes_may_stand_in_a_plain_column(tmp_path):
    write(tmp_path / "a.parquet", [{"id": "x", "text": "t", "flac": encoded(0.2)}])
    (row,) = HFParquet(root=str(tmp_path), lang="en").build()
    assert (row["shard"], row["num_samples"], row["size"]) == ("a.parquet#flac", 3200, len(encoded(0.2)))


def test_damaged_and_absent_sound_keeps_its_row_without_duration(tmp_path):
    rows = [{"id": "x", "text": "t", "audio": {"bytes": b"<html>", "path": None}}]
    rows += [{"id": "y", "text": None, "audio": {"bytes": None, "path": "y.wav"}}]
    write(tmp_path / "a.parquet", rows)
    first, second = HFParquet(root=str(tmp_path), lang="en").build()
    assert (first["duration"], second["duration"], second["text"]) == (0.0, 0.0, "")


def test_ids_met_twice_are_named_with_file_and_row(tmp_path):
    write(tmp_path / "a.parquet", [{"id": "x", "text": "t", "audio": recording("x")}] * 2)
    rows, dropped = HFParquet(root=str(tmp_path), lang="en").read_shard("a.parquet")
    assert len(rows) == 1
    assert dropped == {"id met twice (a.parquet row 1: x)": 1}


@pytest.mark.parametrize("column", ["text", "audio"])
def test_missing_column_is_named(tmp_path, column):
    row = {"id": "x", "text": "t", "audio": recording("x")}
    del row[column]
    write(tmp_path / "a.parquet", [row])
    with pytest.raises(BrokenShard, match=rf"a\.parquet: has no column for `{column}`; set reader\.columns"):
        HFParquet(root=str(tmp_path)).read_shard("a.parquet")


def test_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(BrokenShard, match=r"a\.parquet: cannot be read"):
        HFParquet(root=str(tmp_path)).read_shard("a.parquet")


def test_language_is_chosen_by_folder_and_by_column(tmp_path):
    write(tmp_path / "hindi/a.parquet", [indicvoices(0)])
    write(tmp_path / "tamil/a.parquet", [indicvoices(0, "ta")])
    write(tmp_path / "mixed.parquet", [indicvoices(0, "ta"), indicvoices(1, "bn")])
    reader = HFParquet(root=str(tmp_path), langs=["ta"])
    assert reader.shards() == ["mixed.parquet", "tamil/a.parquet"]
    assert [row["lang"] for row in reader.build()] == ["ta", "ta"]


def test_signature_changes_with_the_file_and_the_settings(tmp_path):
    write(tmp_path / "a.parquet", [indicvoices(0)])
    reader = HFParquet(root=str(tmp_path))
    before = reader.signature("a.parquet")
    assert HFParquet(root=str(tmp_path)).signature("a.parquet") == before
    assert HFParquet(root=str(tmp_path), lang="hi").signature("a.parquet") != before
    write(tmp_path / "a.parquet", [indicvoices(0), indicvoices(1)])
    assert reader.signature("a.parquet") != before


def test_config_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`columns` may map .*, got 'txt'"):
        HFParquet(columns={"txt": "a"})
