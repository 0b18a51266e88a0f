import json
import shutil
import tarfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.readers.final_export import FinalExport
from maya_data.verify import verify_index

TAR = "lang=hi/000/audio.tar"


@pytest.fixture
def shard(tmp_path, write_shard):
    """Six Hindi segments in one shard, and a second shard that nobody damages."""
    write_shard(tmp_path / "root" / "lang=hi" / "000", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    write_shard(tmp_path / "root" / "lang=ta" / "001", [0.5, 0.6])
    return tmp_path / "root" / "lang=hi" / "000"


def _index(shard):
    root = shard.parent.parent
    return build_index(FinalExport(root=str(root)), root.parent / "index")


def _verify(index, level):
    return verify_index(index, level=level, processes=1).bad


def _flip(shard, offset):
    with open(shard / "audio.tar", "r+b") as tar:
        tar.seek(offset)
        byte = tar.read(1)[0]
        tar.seek(offset)
        tar.write(bytes([byte ^ 4]))


def _edit(shard, change, name="metadata"):
    """Rewrite a table of a shard; `change` gets its rows."""
    rows = pq.read_table(shard / f"{name}.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist(change(rows) or rows), shard / f"{name}.parquet")


def _said(bad):
    return [finding.error for finding in bad]


@pytest.mark.parametrize("level", range(4))
def test_a_sound_corpus_has_no_findings(index, level):
    assert _verify(index, level) == []


def test_one_flipped_bit_of_the_audio_is_found_by_decoding_and_names_the_segment(shard):
    index = _index(shard)
    row = index.find("hi-000-003")
    _flip(shard, int(index.columns["offset"][row]) + int(index.columns["size"][row]) // 2)
    assert _verify(index, 2) == []
    (bad,) = _verify(index, 3)
    assert (bad.id, bad.shard, bad.row) == ("hi-000-003", TAR, row)
    assert bad.error.startswith(f"{TAR}: segment hi-000-003 (row {row}) ")


@pytest.mark.parametrize("part", range(0, 60, 5))
def test_a_flipped_bit_anywhere_in_the_frames_is_found(shard, part):
    index = _index(shard)
    row = index.find("hi-000-002")
    offset, size = int(index.columns["offset"][row]), int(index.columns["size"][row])
    head = soundfile_header(shard, offset)
    _flip(shard, offset + head + (size - head - 1) * part // 60)
    assert [bad.id for bad in _verify(index, 3)] == ["hi-000-002"]


def soundfile_header(shard, offset):
    """Return the bytes of the metadata blocks of a FLAC file."""
    with open(shard / "audio.tar", "rb") as tar:
        tar.seek(offset)
        data = tar.read(1 << 16)
    place = 4
    while True:
        length = int.from_bytes(data[place + 1 : place + 4], "big")
        place, last = place + 4 + length, data[place] & 0x80
        if last:
            return place


def test_samples_that_differ_from_the_md5_are_found(shard):
    index = _index(shard)
    _flip(shard, int(index.columns["offset"][1]) + 30)  # inside the MD5 of STREAMINFO
    assert _verify(index, 1) == []
    (bad,) = _verify(index, 3)
    assert "decodes to samples that differ from the MD5 in its FLAC header" in bad.error


@pytest.mark.parametrize("level", range(4))
def test_a_missing_shard_names_every_segment_in_it(shard, level):
    index = _index(shard)
    (shard / "audio.tar").unlink()
    bad = _verify(index, level)
    assert [finding.id for finding in bad] == [f"hi-000-{number:03d}" for number in range(6)]
    assert all(f"is in a file that is missing: {shard / 'audio.tar'}" in finding.error for finding in bad)


def test_a_shard_that_is_gone_as_a_whole_names_every_segment_and_nothing_else(shard):
    index = _index(shard)
    shutil.rmtree(shard)
    assert [finding.row for finding in _verify(index, 3)] == list(range(6))


@pytest.mark.parametrize("level", range(4))
def test_a_tar_cut_off_names_the_segments_behind_the_cut(shard, level):
    index = _index(shard)
    end = int(index.columns["offset"][3]) + 100
    with open(shard / "audio.tar", "r+b") as tar:
        tar.truncate(end)
    bad = _verify(index, level)
    assert [finding.row for finding in bad] == [3, 4, 5]
    assert f"beyond the file's end at {end}" in bad[0].error


def test_a_tar_cut_off_before_indexing_is_found_too(shard):
    with open(shard / "audio.tar", "r+b") as tar:
        tar.truncate(60_000)
    named = {finding.id for finding in _verify(_index(shard), 0)}
    assert "hi-000-005" in named
    assert "hi-000-000" not in named


def test_rows_that_cannot_be_trained_on_are_findings_of_level_zero(shard):
    def damage(rows):
        by_id = {row["segment_id"]: row for row in rows}
        by_id["hi-000-000"]["text"] = " "
        by_id["hi-000-001"]["duration"] = 0.0
        by_id["hi-000-002"]["duration"] = -1.5
        by_id["hi-000-003"]["text"] = "வணக்கம் உலகம்"

    _edit(shard, damage)
    bad = _verify(_index(shard), 0)
    assert [finding.id for finding in bad] == [f"hi-000-{number:03d}" for number in range(4)]
    for finding, words in zip(
        bad, ("an empty transcript", "(0 s)", "(-1.5 s)", "in another script"), strict=True
    ):
        assert words in finding.error


def test_an_unknown_language_is_told_with_its_code(shard):
    shard.parent.rename(shard.parent.parent / "lang=xx")
    bad = [finding for finding in _verify(_index(shard), 0) if finding.shard.startswith("lang=xx")]
    assert len(bad) == 6
    assert all("has a language that is none of" in error and error.endswith("(xx)") for error in _said(bad))


def test_ids_met_twice_in_one_shard_are_found(shard):
    _edit(shard, lambda rows: [*rows, rows[0]])
    (bad,) = (finding for finding in _verify(_index(shard), 0) if "have the same id" in finding.error)
    assert (bad.id, bad.row) == ("hi-000-005", None)
    assert "rows 0 and 6 of metadata.parquet have the same id hi-000-005" in bad.error


def test_ids_met_twice_across_shards_are_found(tmp_path, write_shard):
    write_shard(tmp_path / "root" / "lang=hi" / "000", [0.5])
    write_shard(tmp_path / "root" / "lang=hi" / "001", [0.6])
    other = tmp_path / "root" / "lang=hi" / "001"
    for name in ("metadata", "audio_index"):
        _edit(other, lambda rows: [row | {"segment_id": "hi-000-000"} for row in rows], name)
    (bad,) = _verify(_index(other), 0)
    assert bad.row == 1
    assert bad.error.endswith(f"has the same id as row 0, in {TAR}")


def test_a_row_without_audio_and_a_wrong_count_are_found(shard):
    _edit(shard, lambda rows: [*rows, rows[0] | {"segment_id": "nobody"}])
    said = _said(_verify(_index(shard), 0))
    assert sum("segment nobody (row 6) has no audio in its shard" in error for error in said) == 1
    assert any("its manifest says 6 segments, metadata.parquet has 7" in error for error in said)


def test_a_duration_that_the_header_denies_is_found_at_level_one(shard):
    def damage(rows):
        for row in rows:
            if row["segment_id"] == "hi-000-004":
                row |= {"duration": 1.4, "num_samples": 22400}

    _edit(shard, damage)
    index = _index(shard)
    assert _verify(index, 0) == []
    (bad,) = _verify(index, 1)
    assert bad.id == "hi-000-004"
    assert "lasts 0.900 s by its audio header, 1.400 s by the index" in bad.error


def test_a_rate_that_the_header_denies_is_found_at_level_one(shard):
    _edit(
        shard,
        lambda rows: [row | {"sampling_rate": 8000, "num_samples": row["num_samples"] // 2} for row in rows],
    )
    bad = _verify(_index(shard), 1)
    assert len(bad) == 6
    assert "has 16000 Hz by its audio header, 8000 by the index" in bad[0].error


def test_locators_that_disagree_with_the_tar_are_found(shard):
    def damage(rows):
        rows[1]["offset"] += 512
        rows[4]["size"] -= 7

    _edit(shard, damage, "audio_index")
    index = _index(shard)
    assert _verify(index, 0) == []
    bad = _verify(index, 1)
    assert [finding.id for finding in bad] == ["hi-000-001", "hi-000-004"]
    assert all("audio_index.parquet says" in error for error in _said(bad))


def test_locators_that_count_from_elsewhere_are_no_damage(shard):
    _edit(shard, lambda rows: [row | {"offset": row["offset"] - 512} for row in rows], "audio_index")
    assert _verify(_index(shard), 3) == []


def test_bytes_that_are_not_a_member_are_found(shard):
    index = _index(shard)
    for name, row, change in (("offset", 1, 512), ("size", 4, 7)):
        path = index.path / f"{name}.npy"
        column = np.load(path)
        column[row] += change
        np.save(path, column)
    bad = _verify(open_index(index.path), 1)
    assert [finding.id for finding in bad] == ["hi-000-001", "hi-000-004"]
    assert "has no tar header before its first byte" in bad[0].error
    assert "bytes by the tar's header" in bad[1].error


def test_segments_that_changed_places_are_found(shard):
    def damage(rows):
        rows[1]["member"], rows[2]["member"] = rows[2]["member"], rows[1]["member"]

    index = _index(shard)
    _edit(shard, damage, "audio_index")
    bad = _verify(index, 1)
    assert [finding.id for finding in bad] == ["hi-000-001", "hi-000-002"]
    assert "stands where the tar has hi-000-001.flac" in bad[0].error


def test_a_member_that_no_row_names_is_found(shard):
    index = _index(shard)
    (shard / "more.flac").write_bytes(b"fLaC")
    with tarfile.open(shard / "audio.tar", "a") as tar:
        tar.add(shard / "more.flac", "more.flac")
    (bad,) = _verify(index, 1)
    assert bad.error == f"{TAR}: its tar has 1 members that are no row of the index (more.flac)"


@pytest.mark.parametrize("table", ["metadata.parquet", "audio_index.parquet", "manifest.json"])
def test_a_table_that_is_gone_or_damaged_is_told_once(shard, table):
    index = _index(shard)
    (shard / table).write_bytes(b"x")
    (bad,) = _verify(index, 0)
    assert bad.error.startswith(f"{TAR}: its {table} cannot be read")
    (shard / table).unlink()
    (bad,) = _verify(index, 0)
    assert bad.error == f"{TAR}: its {table} is missing"


@pytest.mark.parametrize(
    "manifest",
    [
        lambda crc, sha: {"files": {"audio.tar": {"crc32": crc}}},
        lambda crc, sha: {"files": [{"name": "audio.tar", "sha256": sha}]},
        lambda crc, sha: {"sha256": {"audio.tar": sha}},
        lambda crc, sha: {"audio_sha256": sha},
        lambda crc, sha: {"checksums": {"audio.tar": f"sha256:{sha}"}},
    ],
)
def test_checksums_of_the_manifest_hold_at_level_two_and_yield_to_the_segment_at_three(shard, manifest):
    import hashlib

    data = (shard / "audio.tar").read_bytes()
    said = manifest(f"{zlib.crc32(data):08x}", hashlib.sha256(data).hexdigest())
    (shard / "manifest.json").write_text(json.dumps({"segments": 6, **said}))
    index = _index(shard)
    assert _verify(index, 3) == []
    _flip(shard, int(index.columns["offset"][2]) + 9000)
    assert _verify(index, 1) == []
    (bad,) = _verify(index, 2)
    assert bad.error == f"{TAR}: the checksum of its audio.tar is not the manifest's"
    (bad,) = _verify(index, 3)
    assert bad.id == "hi-000-002"
