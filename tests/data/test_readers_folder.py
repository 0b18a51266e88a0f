import json

import numpy as np
import pytest
import soundfile

from maya_data.readers import SCHEMA, BrokenShard
from maya_data.readers import lines as lines_module
from maya_data.readers.folder import Folder
from maya_data.readers.header import bytes_info
from maya_data.readers.languages import lang_in_path

RATE = 8000


def sound(path, seconds=0.1, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.name)).normal(0, 2000, round(seconds * rate)).astype(np.int16)
    soundfile.write(path, samples, rate)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def by_id(reader):
    return {row["id"]: row for row in reader.build()}


@pytest.fixture
def ljspeech(tmp_path):
    write(
        tmp_path / "LJSpeech-1.1/metadata.csv",
        'LJ001-0001|"In 1800|"In eighteen hundred\nLJ001-0002|a|b" c\nLJ001-0003|x|y\n',
    )
    for number, seconds in ((1, 0.1), (2, 0.2), (3, 0.3)):
        sound(tmp_path / f"LJSpeech-1.1/wavs/LJ001-000{number}.wav", seconds)
    return Folder(
        root=str(tmp_path),
        separator="|",
        columns={"text": 2},
        audio="wavs/{id}.wav",
        speaker="^(LJ)",
        lang="en",
    )


def test_a_table_without_header_gives_rows_with_lengths_from_the_files(ljspeech):
    rows = list(ljspeech.build())
    assert list(rows[0])[: len(SCHEMA)] == SCHEMA.names
    assert [(row["id"], row["text"], row["num_samples"], row["speaker"]) for row in rows] == [
        ("LJ001-0001", '"In eighteen hundred', 800, "LJ"),
        ("LJ001-0002", 'b" c', 1600, "LJ"),
        ("LJ001-0003", "y", 2400, "LJ"),
    ]
    assert {row["shard"] for row in rows} == {f"LJSpeech-1.1/wavs/LJ001-000{n}.wav" for n in (1, 2, 3)}
    assert rows[0]["duration"] == 0.1
    assert rows[0]["size"] == 44 + 1600


def test_sound_of_a_row_is_read_through_the_reader(ljspeech):
    row = list(ljspeech.build())[1]
    samples, rate = ljspeech.read_audio(row)
    assert (len(samples), rate, samples.dtype) == (1600, RATE, np.int16)


def test_damaged_lines_are_named_by_file_and_line_and_counted(ljspeech, tmp_path, caplog):
    path = tmp_path / "LJSpeech-1.1/metadata.csv"
    path.write_bytes(
        path.read_bytes() + b"LJ001-0004|one column less\n\xff\xfe|a|b\nLJ001-0001|one|column|more\n"
    )
    rows, dropped = ljspeech.read_shard("LJSpeech-1.1/metadata.csv")
    assert len(rows) == 3
    assert dropped == {
        "damaged line: the usual number of columns is 3, got 2 (LJSpeech-1.1/metadata.csv line 4)": 1,
        "damaged line: the usual number of columns is 3, got 4 (LJSpeech-1.1/metadata.csv line 6)": 1,
        "damaged line: it is not UTF-8 (LJSpeech-1.1/metadata.csv line 5)": 1,
    }
    list(ljspeech.build())
    assert "left out 1: damaged line: it is not UTF-8 (LJSpeech-1.1/metadata.csv line 5)" in caplog.text


def test_what_is_left_out_names_the_first_and_counts_the_others(ljspeech, tmp_path):
    write(tmp_path / "LJSpeech-1.1/metadata.csv", "LJ001-0001|a|b\n" + "gone|a|b\n" * 5)
    dropped = ljspeech.read_shard("LJSpeech-1.1/metadata.csv").dropped
    place = "LJSpeech-1.1/metadata.csv line"
    named = ", ".join(f"{place} {line}: gone" for line in (2, 3, 4))
    assert dropped == {f"no audio for the transcript ({named} and 2 more)": 5}


def test_ids_met_twice_are_counted(ljspeech, tmp_path):
    write(tmp_path / "LJSpeech-1.1/metadata.csv", "LJ001-0001|a|b\nLJ001-0001|c|d\n")
    rows, dropped = ljspeech.read_shard("LJSpeech-1.1/metadata.csv")
    assert rows["text"].to_pylist() == ["b"]
    assert dropped == {"id met twice (LJSpeech-1.1/metadata.csv line 2: LJ001-0001)": 1}


def test_file_of_which_nothing_can_be_used_is_broken(ljspeech, tmp_path):
    write(tmp_path / "LJSpeech-1.1/metadata.csv", "gone|a|b\n")
    with pytest.raises(
        BrokenShard, match=r"metadata\.csv: nothing of it can be used: no audio .*line 1: gone"
    ):
        ljspeech.read_shard("LJSpeech-1.1/metadata.csv")


def test_damaged_sound_keeps_its_row_with_no_duration(ljspeech, tmp_path):
    (tmp_path / "LJSpeech-1.1/wavs/LJ001-0002.wav").write_bytes(b"<html>not found</html>")
    row = by_id(ljspeech)["LJ001-0002"]
    assert (row["duration"], row["sampling_rate"], row["size"]) == (0.0, 0, 22)


def test_a_quote_that_does_not_close_spoils_one_line_of_a_csv(tmp_path):
    write(
        tmp_path / "meta.csv",
        'file,text,accent\na.wav,"one, two",north\nb.wav,"three,south\nc.wav,four,east\n',
    )
    for name in "abc":
        sound(tmp_path / f"{name}.wav")
    reader = Folder(root=str(tmp_path), transcripts="meta.csv", separator=",", header=True, lang="hi")
    rows, dropped = reader.read_shard("meta.csv")
    assert rows["text"].to_pylist() == ["one, two", "four"]
    assert dropped == {"damaged line: a quote does not close (meta.csv line 3)": 1}
    assert by_id(reader)["a"]["accent"] == "north"


def test_header_and_aliases_name_the_columns(tmp_path):
    write(
        tmp_path / "t.tsv",
        "﻿path\tsentence\tspeaker_id\tlanguage\tdomain\tduration\r\na\thi\ts1\tHindi\tnews\t1.5\r\n",
    )
    sound(tmp_path / "a.flac")
    row = by_id(Folder(root=str(tmp_path), transcripts="t.tsv", header=True))["a"]
    assert (row["text"], row["speaker"], row["lang"], row["domain"]) == ("hi", "s1", "hi", "news")
    assert (row["duration"], row["num_samples"], row["shard"]) == (1.5, 12000, "a.flac")


def test_files_need_not_be_opened_where_durations_and_rate_are_known(tmp_path):
    write(tmp_path / "t.tsv", "path\ttext\tduration\na.wav\thi\t2.0\n")
    (tmp_path / "a.wav").write_bytes(b"anything")
    reader = Folder(root=str(tmp_path), transcripts="t.tsv", header=True, sampling_rate=16000)
    row = by_id(reader)["a"]
    assert (row["num_samples"], row["sampling_rate"]) == (32000, 16000)


def test_missing_column_is_named(tmp_path):
    write(tmp_path / "t.tsv", "path\tcomment\na.wav\thi\n")
    with pytest.raises(BrokenShard, match=r"no column for `text`; set reader\.columns"):
        list(Folder(root=str(tmp_path), transcripts="t.tsv", header=True).build())


def test_librispeech_text_follows_the_first_space(tmp_path):
    write(tmp_path / "84/121/84-121.trans.txt", "84-121-0000 GO DO YOU HEAR\n84-121-0001 YES\n")
    for number in (0, 1):
        sound(tmp_path / f"84/121/84-121-000{number}.flac")
    reader = Folder(
        root=str(tmp_path),
        transcripts="*/*/*.trans.txt",
        separator=" ",
        audio="{id}.flac",
        speaker=r"^(\d+)-",
    )
    rows = by_id(reader)
    assert (rows["84-121-0000"]["text"], rows["84-121-0000"]["speaker"]) == ("GO DO YOU HEAR", "84")


def test_single_texts_are_a_shard_a_folder(tmp_path):
    for speaker in ("p225", "p226"):
        for number in (1, 2):
            write(tmp_path / f"txt/{speaker}/{speaker}_00{number}.txt", f"Please {number}.\n")
            sound(tmp_path / f"wav48/{speaker}/{speaker}_00{number}_mic1.flac")
    reader = Folder(
        root=str(tmp_path),
        transcripts="**/txt/*/*.txt",
        separator=None,
        audio="../../wav48/{speaker}/{id}_mic1.flac",
        speaker="^([^_]+)_",
    )
    assert reader.shards() == ["txt/p225/", "txt/p226/"]
    row = by_id(reader)["p226_002"]
    assert (row["text"], row["shard"], row["speaker"]) == (
        "Please 2.",
        "wav48/p226/p226_002_mic1.flac",
        "p226",
    )
    before = reader.signature("txt/p225/")
    write(tmp_path / "txt/p225/p225_003.txt", "More.")
    assert reader.signature("txt/p225/") != before


def test_wild_cards_give_a_row_for_every_file_and_count_those_without_text(tmp_path):
    write(tmp_path / "transcripts.json", json.dumps({"rainbow": "When the sun", "joy": "Yes!"}))
    for name in ("p001/rainbow", "p002/rainbow", "p002/joy", "p002/freeform"):
        sound(tmp_path / f"{name}.wav")
    reader = Folder(
        root=str(tmp_path),
        transcripts="transcripts.json",
        audio="p*/{id}.wav",
        id="{folder}_{id}",
        speaker="^(p[0-9]+)_",
        domain="_([a-z]+)",
    )
    rows = by_id(reader)
    assert list(rows) == ["p001_rainbow", "p002_rainbow", "p002_joy"]
    assert (rows["p002_rainbow"]["speaker"], rows["p002_rainbow"]["domain"]) == ("p002", "rainbow")
    dropped = reader.read_shard("transcripts.json").dropped
    assert dropped == {"no transcript for the audio (p002/freeform.wav)": 1}


def test_audio_that_comes_later_is_found(tmp_path):
    write(tmp_path / "t.json", json.dumps({"a": "x"}))
    sound(tmp_path / "p1/a.wav")
    reader = Folder(root=str(tmp_path), transcripts="t.json", audio="p*/{id}.wav", id="{folder}_{id}")
    assert list(by_id(reader)) == ["p1_a"]
    sound(tmp_path / "p2/a.wav")
    assert list(by_id(reader)) == ["p1_a", "p2_a"]


def test_json_lines_hold_named_columns(tmp_path):
    lines = [
        json.dumps({"id": "a", "text": "नमस्ते", "lang": "hi_in", "level": 3}, ensure_ascii=False),
        "{",
        "[]",
    ]
    write(tmp_path / "t.jsonl", "\n".join(lines))
    sound(tmp_path / "a.wav")
    reader = Folder(root=str(tmp_path), transcripts="t.jsonl")
    row = by_id(reader)["a"]
    assert (row["text"], row["lang"], row["level"]) == ("नमस्ते", "hi", "3")
    assert sum(reader.read_shard("t.jsonl").dropped.values()) == 2


def test_long_tables_are_read_in_pieces_without_loss(tmp_path, monkeypatch):
    names = [f"u{number:03d}" for number in range(100)]
    write(
        tmp_path / "t.tsv",
        "path\ttext\n" + "".join(f"{name}\t{'x' * (n % 7)}y\n" for n, name in enumerate(names)),
    )
    with open(tmp_path / "t.tsv", "ab") as file:
        file.write(b"broken\n")
    for name in names:
        (tmp_path / f"{name}.wav").write_bytes(b"RIFF")
    for piece in (1, 7, 50, 64, 333):
        monkeypatch.setattr(lines_module, "PIECE", piece)
        reader = Folder(root=str(tmp_path), transcripts="t.tsv", header=True)
        shards = reader.shards()
        assert len(shards) == -(-(tmp_path / "t.tsv").stat().st_size // piece)
        found, dropped = [], {}
        for shard in shards:
            rows, left = reader.read_shard(shard)
            found += rows["id"].to_pylist()
            dropped |= left
        assert found == names
        assert ["line 102" in reason for reason in dropped] == [True]


def test_language_comes_from_the_folder_and_languages_are_chosen(tmp_path):
    for name in ("hindi", "pa-IN", "lang=ta"):
        write(tmp_path / name / "t.tsv", "a\tx\n")
        sound(tmp_path / name / "a.wav")
    reader = Folder(root=str(tmp_path), transcripts="*/t.tsv", id="{folder}")
    assert {row["lang"] for row in reader.build()} == {"hi", "pa", "ta"}
    chosen = Folder(root=str(tmp_path), transcripts="*/t.tsv", langs=["ta"])
    assert [row["lang"] for row in chosen.build()] == ["ta"]
    with pytest.raises(ValueError, match=r"no shards of language 'bn' .*there are: hi, pa, ta"):
        Folder(root=str(tmp_path), transcripts="*/t.tsv", langs=["bn"]).shards()


@pytest.mark.parametrize(
    ("path", "lang"),
    [
        ("hindi/a.wav", "hi"),
        ("Odia/a.wav", "or"),
        ("x/hi_in/a.wav", "hi"),
        ("pa-IN/a.wav", "pa"),
        ("ta/a.wav", "ta"),
        ("lang=mar/a.wav", "mr"),
        ("mar/a.wav", ""),
        ("sd/a.wav", ""),
        ("ex_01/tamil.wav", ""),
    ],
)
def test_folders_name_languages_only_where_nothing_else_is_meant(path, lang):
    assert lang_in_path(path) == lang


def test_moving_the_root_leaves_signatures_as_they_are(ljspeech, tmp_path):
    before = ljspeech.signature("LJSpeech-1.1/metadata.csv")
    (tmp_path / "LJSpeech-1.1").rename(tmp_path / "moved")
    (tmp_path / "moved").rename(tmp_path / "LJSpeech-1.1")
    again = Folder(**{**vars(ljspeech), "root": str(tmp_path) + "/."})
    assert again.signature("LJSpeech-1.1/metadata.csv") == before
    other = Folder(**{**vars(ljspeech), "columns": {}})
    assert other.signature("LJSpeech-1.1/metadata.csv") != before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"txt": "a"}}, "`columns` may map .*, got 'txt'"),
        ({"speaker": "("}, "`speaker` is no regular expression"),
        ({"domain": "abc"}, "`domain` is a regular expression with one group, got 'abc'"),
        ({"separator": ""}, "`separator` is a text between columns"),
        ({"text": "asr-v9"}, "no text profile named 'asr-v9'"),
    ],
)
def test_config_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Folder(**settings)


def test_root_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no file matches transcripts=\*\*/metadata\.csv under"):
        Folder(root=str(tmp_path)).shards()
    with pytest.raises(ValueError, match=r"no value given for reader\.root"):
        Folder().shards()


def test_truncated_gzip_keeps_the_lines_before_the_break(tmp_path):
    import gzip

    text = "".join(json.dumps({"id": f"u{n}", "text": "x" * (n % 50)}) + "\n" for n in range(2000))
    packed = gzip.compress(text.encode())
    (tmp_path / "t.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    for number in range(2000):
        (tmp_path / f"u{number}.wav").write_bytes(b"")
    rows, dropped = Folder(root=str(tmp_path), transcripts="*.gz").read_shard("t.jsonl.gz")
    assert 100 < len(rows) < 2000
    assert any("breaks off" in reason and "after line" in reason for reason in dropped)


def box(kind, *inside):
    body = b"".join(inside)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def m4a(rate, samples, wide=False):
    numbers = [(0, 8 if wide else 4)] * 2 + [(rate, 4), (samples, 8 if wide else 4)]
    head = bytes([wide, 0, 0, 0]) + b"".join(number.to_bytes(width, "big") for number, width in numbers)
    track = box(b"trak", box(b"tkhd", bytes(20)), box(b"mdia", box(b"mdhd", head, bytes(4))))
    return box(b"ftyp", b"M4A ") + box(b"mdat", bytes(100)) + box(b"moov", box(b"mvhd", bytes(30)), track)


@pytest.mark.parametrize("wide", [False, True])
def test_m4a_tells_its_length_and_needs_ffmpeg_for_its_sound(tmp_path, monkeypatch, wide):
    write(tmp_path / "t.txt", "a.m4a\tnamaste\n")
    (tmp_path / "a.m4a").write_bytes(m4a(44100, 22050, wide))
    reader = Folder(root=str(tmp_path), transcripts="t.txt", lang="hi")
    row = by_id(reader)["a"]
    assert (row["sampling_rate"], row["duration"]) == (44100, 0.5)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="need ffmpeg, which is not on the PATH"):
        reader.read_audio(row)
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nprintf '\\001\\000\\002\\000'\n")
    program.chmod(0o755)
    samples, rate = reader.read_audio(row)
    assert (samples.tolist(), rate) == ([1, 2], 16000)
    program.write_text("#!/bin/sh\necho 'no moov' >&2\nexit 1\n")
    with pytest.raises(ValueError, match=r"ffmpeg cannot decode it \(no moov\)"):
        reader.read_audio(row)


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"fLaC", box(b"ftyp", b"M4A "), b"RIFF0000WAVEfmt ", bytes(100)]
)
def test_heads_that_break_off_tell_nothing(data):
    assert bytes_info(data) == (0, 0)
