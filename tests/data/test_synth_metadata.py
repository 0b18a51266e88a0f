import hashlib
import json
import resource

import numpy as np
import pyarrow.parquet as pq
import pytest

from maya_data.audio.fetch import read_audio
from maya_data.cli import main
from maya_data.indexing.build import build_index
from maya_data.readers.final_export import FinalExport
from maya_data.script import LANGS
from maya_data.synth import SynthesisError, write_metadata
from maya_data.synth.metadata import HOURS, SHARD_SIZE


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_metadata(tmp_path_factory.mktemp("metadata"), 40_000)


@pytest.fixture(scope="module")
def hindi(root):
    """Metadata and locators of the Hindi shard."""
    return [
        pq.read_table(root / "lang=hi" / "shard-00000" / f"{name}.parquet", partitioning=None)
        for name in ("metadata", "audio_index")
    ]


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_all_segments_of_all_languages_are_there_and_no_tar(root):
    sizes = {}
    for manifest in root.glob("lang=*/*/manifest.json"):
        said = json.loads(manifest.read_text())
        sizes[said["lang"]] = sizes.get(said["lang"], 0) + said["segments"]
        assert said["audio"] is False
        assert sorted(path.name for path in manifest.parent.iterdir()) == [
            *("audio_index.parquet", "manifest.json", "metadata.parquet")
        ]
        for name, digest in said["sha256"].items():
            assert hashlib.sha256((manifest.parent / name).read_bytes()).hexdigest() == digest
    assert set(sizes) == set(LANGS)
    assert sum(sizes.values()) == 40_000
    assert sizes["en"] == pytest.approx(40_000 * HOURS["en"] / sum(HOURS.values()), abs=1)


def test_durations_are_like_those_of_a_large_corpus(hindi):
    durations = hindi[0]["duration"].to_numpy()

    assert durations.mean() == pytest.approx(7.9, abs=0.3)
    assert 0 < (durations > 40).mean() < 0.01
    np.testing.assert_array_equal(
        hindi[0]["num_samples"].to_numpy() / hindi[0]["sampling_rate"].to_numpy(), durations
    )


def test_texts_are_words_of_the_language_about_as_long_as_the_audio(hindi):
    texts, durations = hindi[0]["text"].to_pylist(), hindi[0]["duration"].to_numpy()
    lengths = np.array([len(text) for text in texts])

    assert np.corrcoef(lengths, durations)[0, 1] > 0.9
    assert np.median(lengths / durations) == pytest.approx(12, abs=2)
    assert all("\u0900" <= char < "\u0980" or char == " " for char in set("".join(texts)))


def test_places_are_those_of_a_tar(hindi):
    offset, size = (hindi[1][name].to_numpy() for name in ("offset", "size"))

    ends = offset + -(-size // 512) * 512
    assert offset[0] == 512
    np.testing.assert_array_equal(offset[1:], ends[:-1] + 512)
    assert hindi[1]["segment_id"].to_pylist() == hindi[0]["segment_id"].to_pylist()


def test_ids_are_unique_over_shards(tmp_path):
    root = write_metadata(tmp_path, SHARD_SIZE + 10, langs=["ta"])
    ids = [
        name
        for path in sorted(root.glob("*/*/metadata.parquet"))
        for name in pq.read_table(path, columns=["segment_id"], partitioning=None)["segment_id"].to_pylist()
    ]

    assert len(set(ids)) == len(ids) == SHARD_SIZE + 10
    assert ids[-1] == f"ta-{SHARD_SIZE + 9:09d}"


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_metadata(tmp_path / name, 500, langs=["hi", "en"], seed=seed)

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    rows = "train/lang=hi/shard-00000/metadata.parquet"
    assert digests(tmp_path / "a")[rows] != digests(tmp_path / "c")[rows]


def test_an_interrupted_corpus_goes_on(tmp_path):
    write_metadata(tmp_path, 500, langs=["hi", "en"])
    before = digests(tmp_path)
    kept = tmp_path / "train" / "lang=hi" / "shard-00000" / "metadata.parquet"
    time = kept.stat().st_mtime_ns
    (tmp_path / "train" / "lang=en" / "shard-00000" / "manifest.json").unlink()

    write_metadata(tmp_path, 500, langs=["hi", "en"])

    assert digests(tmp_path) == before
    assert kept.stat().st_mtime_ns == time


def test_other_settings_do_not_mix_into_a_corpus(tmp_path):
    write_metadata(tmp_path, 500, langs=["hi"])

    with pytest.raises(SynthesisError, match="shard-00000 was made with other settings; remove it"):
        write_metadata(tmp_path, 501, langs=["hi"])
    with pytest.raises(SynthesisError, match=r"lang=hi/shard-00000 is not part of this corpus; remove it"):
        write_metadata(tmp_path, 500, langs=["ta"])


def test_final_export_indexes_it_and_reading_its_audio_is_one_sentence(tmp_path):
    root = write_metadata(tmp_path / "corpus", 600, langs=["hi", "ta"])

    index = build_index(FinalExport(root=str(root)), tmp_path / "index")

    assert len(index) == 600
    assert index.info["broken"] == {}
    metadata = pq.read_table(root / "lang=hi" / "shard-00000" / "metadata.parquet", partitioning=None)
    np.testing.assert_allclose(index.durations[: len(metadata)], metadata["duration"].to_numpy(), rtol=1e-6)
    assert set(index.names("corpus")) == {"main", "read", "talk"}
    with pytest.raises(FileNotFoundError, match="holds metadata only") as caught:
        read_audio(index, 5)
    assert index.row(5).id in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_does_not_grow_with_the_segments(tmp_path):
    write_metadata(tmp_path / "small", 30_000, langs=["hi"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_metadata(tmp_path / "large", 300_000, langs=["hi"])

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-audio"], "--no-audio needs --segments, for example --segments 1000000"),
        (["--segments", "9"], "--segments goes with --no-audio"),
        (["--no-audio", "--segments", "9", "--test", "3"], "--test has no effect with --no-audio"),
        (["--no-audio", "--segments", "0"], "`segments` must be 1 or more, got 0"),
        (["--no-audio", "--segments", "9", "--langs", "xx"], "no phrases for language 'xx'"),
    ],
)
def test_mistake_is_one_line_and_status_two(tmp_path, capsys, arguments, message):
    assert main(["synth", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_command_says_how_to_index_what_it_made(tmp_path, capsys):
    assert main(["synth", str(tmp_path), "--no-audio", "--segments", "24", "--langs", "hi", "en"]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/train: 24 segments without audio, for `maya-data index {tmp_path}/train --out INDEX`\n"
    )


def test_fewer_segments_than_languages_leave_some_out(tmp_path):
    root = write_metadata(tmp_path, 3)

    rows = [len(pq.read_table(path, partitioning=None)) for path in root.glob("*/*/metadata.parquet")]
    assert sum(rows) == 3
