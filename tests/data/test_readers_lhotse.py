import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.serialization import SequentialJsonlWriter

from maya_data.audio.fetch import read_row
from maya_data.readers import BrokenShard
from maya_data.readers.lhotse_cuts import LhotseCuts
from maya_data.readers.shar import Shar

RATE = 8000


def cut(path, number, start=0.0, duration=0.5):
    recording = Recording.from_file(path, recording_id=f"r{number}")
    said = [
        SupervisionSegment(
            id=f"s{number}-{9 - part}",
            recording_id=f"r{number}",
            start=part / 10,
            duration=0.1,
            text=text,
            language="Hindi",
            speaker="spk",
        )
        for part, text in ((1, "दुनिया"), (0, "नमस्ते"))
    ]
    return MonoCut(
        id=f"cut.{number}", start=start, duration=duration, channel=0, supervisions=said, recording=recording
    )


@pytest.fixture
def cuts(tmp_path):
    (tmp_path / "audio").mkdir()
    made = []
    for number in range(3):
        path = tmp_path / f"audio/{number}.flac"
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, RATE), RATE)
        made.append(cut(path, number, start=number / 10))
    return CutSet.from_cuts(made)


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_cuts_are_rows_of_their_files(cuts, tmp_path, name):
    cuts.to_file(tmp_path / name)
    rows = list(LhotseCuts(root=str(tmp_path), cuts=name).build())
    assert [(row["id"], row["shard"], row["start"]) for row in rows] == [
        ("cut.0", "audio/0.flac", 0),
        ("cut.1", "audio/1.flac", 800),
        ("cut.2", "audio/2.flac", 1600),
    ]
    row = rows[1]
    assert (row["text"], row["lang"], row["speaker"], row["num_samples"]) == ("नमस्ते दुनिया", "hi", "spk", 4000)
    expected = np.rint(cuts["cut.1"].load_audio()[0] * 32768)
    assert np.abs(read_row(str(tmp_path), row)[0] - expected).max() <= 1


def test_cuts_that_only_lhotse_can_make_are_counted_and_named(cuts, tmp_path):
    first = cuts["cut.0"]
    odd = [
        first,
        first.pad(duration=2.0),
        first.perturb_speed(1.1).with_id("fast"),
        MonoCut(id="bare", start=0, duration=1, channel=0),
    ]
    with SequentialJsonlWriter(tmp_path / "cuts.jsonl") as writer:
        for item in odd:
            writer.write(item)
    with open(tmp_path / "cuts.jsonl", "a") as file:
        file.write('{"id": "x"}\n{\n')
    rows, dropped = LhotseCuts(root=str(tmp_path)).read_shard("cuts.jsonl")
    assert rows["id"].to_pylist() == ["cut.0"]
    assert sum(dropped.values()) == 5
    for number in range(2, 7):
        assert any(f"cuts.jsonl line {number}" in reason for reason in dropped)


def test_missing_audio_is_named(cuts, tmp_path):
    cuts.to_file(tmp_path / "cuts.jsonl")
    (tmp_path / "audio/1.flac").unlink()
    rows, dropped = LhotseCuts(root=str(tmp_path)).read_shard("cuts.jsonl")
    assert len(rows) == 2
    assert dropped == {"no audio for the cut (cuts.jsonl line 2: cut.1)": 1}


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_shar_members_are_read_in_place(cuts, tmp_path, audio_format):
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", fields={"recording": audio_format}, shard_size=2, verbose=False)
    reader = Shar(root=str(tmp_path))
    assert reader.shards() == ["shar/cuts.000000.jsonl.gz", "shar/cuts.000001.jsonl.gz"]
    rows = list(reader.build())
    assert [row["id"] for row in rows] == ["cut.0", "cut.1", "cut.2"]
    assert rows[2]["shard"] == "shar/recording.000001.tar"
    for row in rows:
        expected = np.rint(cuts[row["id"]].load_audio()[0] * 32768)
        samples, rate = reader.read_audio(row)
        assert (len(samples), rate) == (4000, RATE)
        assert np.abs(samples - expected).max() <= 2
        assert (row["text"], row["lang"]) == ("नमस्ते दुनिया", "hi")


def test_shar_without_a_tar_or_a_member_is_named(cuts, tmp_path):
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=2, verbose=False)
    tar = tmp_path / "shar/recording.000000.tar"
    data = tar.read_bytes()
    tar.write_bytes(data[: data.index(b"cut.1.flac") + 600])
    rows, dropped = Shar(root=str(tmp_path)).read_shard("shar/cuts.000000.jsonl.gz")
    assert rows["id"].to_pylist() == ["cut.0"]
    assert list(dropped) == [
        "no audio in shar/recording.000000.tar (shar/cuts.000000.jsonl.gz line 2: cut.1)"
    ]
    tar.unlink()
    with pytest.raises(BrokenShard, match=r"recording\.000000\.tar: is missing"):
        Shar(root=str(tmp_path)).read_shard("shar/cuts.000000.jsonl.gz")
