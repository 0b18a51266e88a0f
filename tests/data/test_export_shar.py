import errno
import re
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from maya_data.audio.fetch import read_audio, read_bytes
from maya_data.cli import main
from maya_data.export import export_shar
from maya_data.indexing.build import build_index
from maya_data.readers.final_export import FinalExport
from maya_data.readers.shar import Shar
from maya_data.text import profile

lhotse = pytest.importorskip("lhotse")

# lhotse's Shar reader leaves its tars to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _libsndfile(monkeypatch):
    monkeypatch.setenv("LHOTSE_AUDIO_BACKEND", "LibsndfileBackend")


def read_back(folder):
    return list(lhotse.CutSet.from_shar(in_dir=folder))


class Listed:
    """A reader of the rows that it is given."""

    name, text = "listed", "asr-v1"

    def __init__(self, root, rows):
        self.root, self.rows = str(root), rows

    def build(self):
        common = {"speaker": "", "domain": "", "corpus": "", "lang": "hi", "sampling_rate": 16000, "start": 0}
        for row in self.rows:
            yield common | {"num_samples": round(row["duration"] * 16000), "text": "एक", "offset": 0} | row


def listed(tmp_path, rows):
    return build_index(Listed(tmp_path / "root", rows), tmp_path / "index")


def audio_file(path, seconds, channels=1, rate=16000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(seconds * rate), channels)
    samples = np.random.default_rng(0).normal(0, 2000, shape).astype(np.int16)
    soundfile.write(path, samples, rate, **options)
    return {"shard": path.name, "size": path.stat().st_size, "duration": seconds, "sampling_rate": rate}


def test_lhotse_reads_back_what_the_index_holds(index, tmp_path):
    made = export_shar(index, tmp_path / "out", shard_size=30)

    cuts = read_back(made.folder)
    assert (made.segments, made.shards, made.left_out) == (70, 3, {})
    for i, cut in enumerate(cuts):
        row, (supervision,) = index.row(i), cut.supervisions
        assert (cut.id, supervision.text, supervision.language) == (row.id, row.text, row.lang)
        assert (supervision.speaker, cut.custom["corpus"], cut.custom["domain"]) == (
            *(row.speaker, row.corpus, row.domain),
        )
        samples = (cut.load_audio()[0] * 32768).round().astype(np.int16)
        np.testing.assert_array_equal(samples, read_audio(index, i))
        assert supervision.duration == cut.duration == cut.num_samples / 16000


def test_shards_are_numbered_pairs_and_nothing_else(index, tmp_path):
    folder = export_shar(index, tmp_path / "out", shard_size=40).folder

    assert sorted(path.name for path in folder.iterdir()) == [
        *("cuts.000000.jsonl.gz", "cuts.000001.jsonl.gz", "recording.000000.tar", "recording.000001.tar")
    ]


def test_encoded_bytes_are_copied_as_they_are(index, tmp_path):
    folder = export_shar(index, tmp_path / "out").folder

    with tarfile.open(folder / "recording.000000.tar") as tar:
        assert tar.extractfile(tar.getnames()[0]).read() == read_bytes(index, 0)


def test_text_may_be_spelled_by_the_profile(index, tmp_path):
    folder = export_shar(index, tmp_path / "out", texts="profile").folder

    row = index.row(0)
    assert read_back(folder)[0].supervisions[0].text == profile("asr-v1").normalize(row.text, row.lang)


def test_several_channels_become_one(tmp_path):
    index = listed(tmp_path, [{"id": "a", **audio_file(tmp_path / "root" / "a.wav", 0.5, channels=2)}])

    (cut,) = read_back(export_shar(index, tmp_path / "out").folder)

    assert (cut.num_channels, cut.num_samples) == (1, 8000)
    samples = (cut.load_audio()[0] * 32768).round().astype(np.int16)
    np.testing.assert_array_equal(samples, read_audio(index, 0))


def test_parts_of_files_become_recordings(tmp_path):
    long, short = (audio_file(tmp_path / "root" / f"{name}.flac", s) for name, s in (("l", 3.0), ("s", 0.5)))
    rows = [
        {"id": "middle", **long, "duration": 1.25, "start": 24000},
        {"id": "nearly all", **short, "duration": 0.45, "start": 800},
    ]
    index = listed(tmp_path, rows)

    cuts = read_back(export_shar(index, tmp_path / "out").folder)

    assert [(cut.id, cut.num_samples) for cut in cuts] == [("middle", 20000), ("nearly all", 7200)]
    for i, cut in enumerate(cuts):
        samples = (cut.load_audio()[0] * 32768).round().astype(np.int16)
        np.testing.assert_array_equal(samples, read_audio(index, i))


@pytest.mark.parametrize(("suffix", "rate"), [("ogg", 48000), ("mp3", 24000), ("wav", 8000)])
def test_other_formats_and_rates_are_copied_and_read_back(tmp_path, suffix, rate):
    made = audio_file(tmp_path / "root" / f"a.{suffix}", 0.7, rate=rate)

    (cut,) = read_back(export_shar(listed(tmp_path, [{"id": "a", **made}]), tmp_path / "out").folder)

    assert cut.sampling_rate == rate
    assert cut.load_audio().shape == (1, cut.num_samples)


def test_damaged_and_untrainable_segments_are_left_out_counted_and_named(tmp_path, write_shard):
    root = tmp_path / "root"
    write_shard(root / "lang=hi" / "0", [0.3, 0.4, 0.5, 0.6])
    index = build_index(FinalExport(root=str(root)), tmp_path / "index")
    tar, row = root / "lang=hi" / "0" / "audio.tar", index.row(1)
    data = bytearray(tar.read_bytes())
    data[row.offset + row.size // 2] ^= 1
    tar.write_bytes(data)

    made = export_shar(index, tmp_path / "out", shard_size=2)

    assert [cut.id for cut in read_back(made.folder)] == [index.row(i).id for i in (0, 2, 3)]
    assert made.left_out == {"audio that cannot be used": 1}
    assert re.fullmatch(rf"lang=hi/0/audio.tar: segment {row.id} at byte {row.offset} .*", made.problems[0])


def test_a_row_that_may_not_be_trained_on_is_left_out(tmp_path):
    made = audio_file(tmp_path / "root" / "a.flac", 0.3)
    index = listed(tmp_path, [{"id": "a", **made}, {"id": "b", **made, "text": " "}])

    exported = export_shar(index, tmp_path / "out")

    assert exported.segments == 1
    assert exported.left_out == {"empty transcript, impossible duration or unknown language": 1}


def test_an_id_that_lhotse_would_not_find_again_is_left_out(tmp_path):
    made = audio_file(tmp_path / "root" / "a.flac", 0.3)
    names = ["speaker/take.1", "./a", "a//b", "with space", "अ", "x" * 200]
    index = listed(tmp_path, [{"id": name, **made} for name in names])

    exported = export_shar(index, tmp_path / "out")

    assert [cut.id for cut in read_back(exported.folder)] == [names[i] for i in (0, 3, 4, 5)]
    assert exported.left_out == {"an id that cannot be the name of a file": 2}
    assert "a.flac: the id './a' cannot be the name of a file" in exported.problems


def test_a_shard_without_a_usable_segment_has_no_files(tmp_path):
    made = audio_file(tmp_path / "root" / "a.flac", 0.3)
    rows = [{"id": "a", **made}, {"id": "b", **made, "text": ""}, {"id": "c", **made}]

    exported = export_shar(listed(tmp_path, rows), tmp_path / "out", shard_size=1)

    assert exported.shards == 2
    assert sorted(path.name for path in exported.folder.glob("cuts.*")) == [
        *("cuts.000000.jsonl.gz", "cuts.000002.jsonl.gz")
    ]
    assert [cut.id for cut in read_back(exported.folder)] == ["a", "c"]


def test_an_executor_writes_the_same(index, tmp_path):
    export_shar(index, tmp_path / "alone", shard_size=20)
    with ThreadPoolExecutor(2) as executor:
        export_shar(index, tmp_path / "shared", shard_size=20, executor=executor)

    for path in (tmp_path / "alone").glob("recording.*.tar"):
        with tarfile.open(path) as alone, tarfile.open(tmp_path / "shared" / path.name) as shared:
            assert alone.getnames() == shared.getnames()


def test_a_per_cent_sign_in_the_path_is_no_pattern(index, tmp_path):
    assert len(read_back(export_shar(index, tmp_path / "100%d").folder)) == 70


def test_nothing_usable_is_one_sentence_and_leaves_no_folder(tmp_path):
    made = audio_file(tmp_path / "root" / "a.flac", 0.3)
    index = listed(tmp_path, [{"id": "a", **made}])
    (tmp_path / "root" / "a.flac").unlink()

    with pytest.raises(ValueError, match=r"nothing to export: .*a\.flac"):
        export_shar(index, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "root"]


@pytest.mark.parametrize(("setting", "value"), [("shard_size", 0), ("texts", "other")])
def test_a_wrong_setting_is_refused(index, tmp_path, setting, value):
    with pytest.raises(ValueError, match=f"`{setting}` must be .* got {value!r}"):
        export_shar(index, tmp_path / "out", **{setting: value})


def test_a_full_disk_is_one_sentence(index, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lhotse.shar.writers.tar.TarWriter.write", full)

    with pytest.raises(ValueError, match=r"the disk of .*out is full; make room and export again"):
        export_shar(index, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_our_own_reader_reads_it_back(index, tmp_path):
    folder = export_shar(index, tmp_path / "out", shard_size=30).folder

    again = build_index(Shar(root=str(folder)), tmp_path / "again")

    assert [again.row(i).id for i in range(len(again))] == [index.row(i).id for i in range(len(index))]
    np.testing.assert_array_equal(read_audio(again, 5), read_audio(index, 5))


def test_the_command_copies_with_several_processes(index, tmp_path, capsys):
    options = ["--shard-size", "40", "--processes", "2", "--texts", "profile"]
    assert main(["export", "shar", str(index.path), "--out", str(tmp_path / "out"), *options]) == 0

    assert capsys.readouterr().out == f"{tmp_path}/out: 70 segments in 2 shards\n"
    assert len(read_back(tmp_path / "out")) == 70
    assert main(["export", "shar", str(index.path), "--out", str(tmp_path / "b"), "--processes", "0"]) == 2
    assert "--processes must be 1 or more, got 0" in capsys.readouterr().err
