import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_data.synth import SynthesisError, VoiceSets, shards, write_corpus
from maya_data.synth.corpus import Unit, Utterance

for package in ("espeakng_loader", "babel", "indic_numtowords"):
    pytest.importorskip(package)

VOICES = VoiceSets(train=("f1", "whisper"), valid=("m2",), test=("m3",))
SETTINGS = {"langs": ["as"], "sentences": 3, "words": 1, "valid": 2, "test": 3, "voices": VOICES}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    calls = []
    root = tmp_path_factory.mktemp("synth")
    write_corpus(root, **SETTINGS, progress=lambda *call: calls.append(call))
    return root, calls


def one_clip(text="एक", voice="f1"):
    utterance = Utterance("train-hi-000000", text, voice, "word", 160, 50, 1)
    return Unit("train/lang=hi/shard-00000", "hi", (utterance,))


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_locators_point_at_flac_of_the_said_length(corpus):
    for shard in corpus[0].glob("*/lang=as/shard-00000"):
        index = pq.read_table(shard / "audio_index.parquet", partitioning=None).to_pylist()
        metadata = pq.read_table(shard / "metadata.parquet", partitioning=None).to_pylist()
        tar = (shard / "audio.tar").read_bytes()
        for place, row in zip(index, metadata, strict=True):
            audio = tar[place["offset"] : place["offset"] + place["size"]]
            waveform, sampling_rate = soundfile.read(io.BytesIO(audio), dtype="int16")
            assert place["segment_id"] == row["segment_id"]
            assert sampling_rate == row["sampling_rate"] == 16000
            assert len(waveform) == row["num_samples"]
            assert row["duration"] == len(waveform) / 16000
            assert waveform.ndim == 1
            assert 12000 < np.abs(waveform.astype(int)).max() < 21000


def test_members_of_the_tar_are_those_of_the_index(corpus):
    shard = corpus[0] / "test/lang=as/shard-00000"
    index = pq.read_table(shard / "audio_index.parquet", partitioning=None).to_pylist()

    with tarfile.open(shard / "audio.tar") as tar:
        assert [(item.name, item.offset_data, item.size) for item in tar] == [
            (place["member"], place["offset"], place["size"]) for place in index
        ]


def test_the_manifest_counts_and_seals_the_shard(corpus):
    shard = corpus[0] / "test/lang=as/shard-00000"

    manifest = json.loads((shard / "manifest.json").read_text())

    assert (manifest["lang"], manifest["segments"]) == ("as", 3)
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((shard / name).read_bytes()).hexdigest() == digest


def test_progress_counts_every_clip(corpus):
    _, calls = corpus

    assert [done for done, _, _ in calls] == list(range(1, len(calls) + 1))
    assert {total for _, total, _ in calls} == {len(calls)}


def test_an_interrupted_corpus_goes_on_to_the_same_bytes(corpus, tmp_path):
    root, calls = tmp_path / "copy", []
    before = digests(corpus[0])
    shutil.copytree(corpus[0], root)
    shutil.rmtree(root / "valid")
    (root / "train/lang=as/shard-00000/manifest.json").unlink()

    write_corpus(root, **SETTINGS, processes=1, progress=lambda *call: calls.append(call))

    assert digests(root) == before
    assert calls[0][:2] == (4, len(corpus[1]))


def test_partial_folders_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    place = tmp_path / "train/lang=hi"
    left = [place / f".shard-00000.{pid}.partial" for pid in (dead.pid, os.getpid(), os.getppid())]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "audio.tar").write_bytes(b"half")

    shards.write_shard(tmp_path, one_clip(), report=lambda: None)

    assert [folder.exists() for folder in left] == [False, False, True]
    assert (left[2] / "audio.tar").read_bytes() == b"half"
    assert shards.is_done(tmp_path, one_clip())


def test_two_processes_at_one_shard_do_not_mix_their_files(tmp_path, monkeypatch):
    """The worker of a killed run finishes the shard while the restarted one is still writing it."""
    finished, write_table = [], shards._write_table

    def overtaken(path, rows, columns):
        if os.getpid() == parent and not finished:
            if not (child := os.fork()):
                shards.write_shard(tmp_path, one_clip(), report=lambda: None)
                os._exit(0)
            finished.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        write_table(path, rows, columns)

    parent = os.getpid()
    monkeypatch.setattr(shards, "_write_table", overtaken)
    shards.write_shard(tmp_path, one_clip(), report=lambda: None)

    assert finished == [0]
    manifest = json.loads((tmp_path / "train/lang=hi/shard-00000/manifest.json").read_text())
    for name, digest in manifest["sha256"].items():
        assert (
            hashlib.sha256((tmp_path / "train/lang=hi/shard-00000" / name).read_bytes()).hexdigest() == digest
        )
    assert os.listdir(tmp_path / "train/lang=hi") == ["shard-00000"]


def test_a_finished_corpus_is_left_alone(corpus):
    times = {path: path.stat().st_mtime_ns for path in corpus[0].rglob("*")}

    write_corpus(corpus[0], **SETTINGS)

    assert {path: path.stat().st_mtime_ns for path in corpus[0].rglob("*")} == times


def test_other_settings_do_not_mix_into_a_corpus(corpus):
    with pytest.raises(SynthesisError, match=r"shard-00000 was made with other settings; remove it"):
        write_corpus(corpus[0], **SETTINGS, seed=1)


def test_a_shard_that_is_not_in_the_plan_is_refused(corpus):
    with pytest.raises(SynthesisError, match=r"lang=as/shard-00000 is not part of this corpus"):
        write_corpus(corpus[0], **(SETTINGS | {"langs": ["hi"]}))


def test_text_that_cannot_be_spoken_names_the_utterance(tmp_path):
    with pytest.raises(SynthesisError, match=r"gave 0\.\d+ s of sound for train-hi-000000 \('', voice f1\)"):
        shards.write_shard(tmp_path, one_clip(text=""), report=lambda: None)


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "_write_table", full)

    with pytest.raises(SynthesisError, match="is full; finished shards are kept, make room and run again"):
        shards.write_shard(tmp_path, one_clip(), report=lambda: None)
    assert not list(tmp_path.glob("*/*/shard-*"))


def test_a_failure_in_a_worker_reaches_the_caller(tmp_path):
    (tmp_path / "train").write_text("in the way")

    with pytest.raises(SynthesisError, match="Not a directory"):
        write_corpus(tmp_path, **SETTINGS)


def test_no_workers_is_refused(tmp_path):
    with pytest.raises(SynthesisError, match="`processes` must be 1 or more, got 0"):
        write_corpus(tmp_path, **SETTINGS, processes=0)
