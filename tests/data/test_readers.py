import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maya_data.audio.fetch import decode
from maya_data.readers import SCHEMA, BrokenShard
from maya_data.readers.final_export import FinalExport
from maya_data.readers.tar import flac_info, walk


def test_rows_carry_what_the_shard_says(corpus):
    rows = list(FinalExport(root=str(corpus)).build())
    assert len(rows) == 70
    assert list(rows[0]) == SCHEMA.names
    first = rows[0]
    assert (first["id"], first["shard"], first["lang"], first["corpus"]) == (
        "en-000-000", "lang=en/000/audio.tar", "en", "tiny",
    )  # fmt: skip
    assert first["num_samples"] == round(first["duration"] * 16000)


def test_offsets_point_at_the_audio_of_the_id(corpus):
    for row in list(FinalExport(root=str(corpus), langs=["ta"]).build()):
        data = (corpus / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["size"]]
        assert len(decode(data)[0]) == row["num_samples"]


def test_other_column_names_are_recognised(tmp_path, write_shard):
    rename = {"segment_id": "utt_id", "text": "transcript", "offset": "byte_offset", "size": "length"}
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4], rename=rename)
    assert [row["id"] for row in FinalExport(root=str(tmp_path)).build()] == ["hi-s-000", "hi-s-001"]


def test_columns_map_names_that_no_alias_knows(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3], rename={"text": "verbatim"})
    with pytest.raises(BrokenShard, match=r"metadata\.parquet has no column for `text`"):
        list(FinalExport(root=str(tmp_path)).build())
    assert next(FinalExport(root=str(tmp_path), columns={"text": "verbatim"}).build())["text"]


@pytest.mark.parametrize(
    "drop", [["offset", "size"], ["offset", "size", "segment_id"], ["offset", "size", "member"]]
)
def test_absent_offsets_are_found_by_walking_the_tar(tmp_path, write_shard, drop):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4, 0.5])
    expected = list(FinalExport(root=str(tmp_path)).build())
    path = tmp_path / "lang=hi" / "s" / "audio_index.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(drop), path)
    assert list(FinalExport(root=str(tmp_path)).build()) == expected


def test_wrong_offsets_are_found_by_walking_the_tar(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4, 0.5])
    expected = list(FinalExport(root=str(tmp_path)).build())
    path = tmp_path / "lang=hi" / "s" / "audio_index.parquet"
    rows = pq.read_table(path, partitioning=None).to_pylist()
    table = pq.read_table(path, partitioning=None).drop_columns(["offset"])
    pq.write_table(table.append_column("offset", [[row["offset"] - 512 for row in rows]]), path)
    assert list(FinalExport(root=str(tmp_path)).build()) == expected


def test_lengths_come_from_flac_headers_when_metadata_lack_them(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4], rate=8000)
    expected = list(FinalExport(root=str(tmp_path)).build())
    path = tmp_path / "lang=hi" / "s" / "metadata.parquet"
    lengths = ["duration", "num_samples", "sampling_rate"]
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(lengths), path)
    assert list(FinalExport(root=str(tmp_path)).build()) == expected


def test_truncated_tar_loses_only_the_audio_beyond_its_end(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4, 0.5])
    path = tmp_path / "lang=hi" / "s" / "audio.tar"
    last = list(FinalExport(root=str(tmp_path)).build())[-1]
    path.write_bytes(path.read_bytes()[: last["offset"] + 100])
    read = FinalExport(root=str(tmp_path)).read_shard("lang=hi/s")
    assert read.rows["id"].to_pylist() == ["hi-s-000", "hi-s-001", "hi-s-002"]
    assert [size > 0 for size in read.rows["size"].to_pylist()] == [True, True, False]
    assert read.rows["offset"][2].as_py() == last["offset"]
    assert not read.dropped


def test_ids_met_twice_are_counted_and_those_without_audio_kept_without_bytes(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4])
    path = tmp_path / "lang=hi" / "s" / "metadata.parquet"
    rows = pq.read_table(path, partitioning=None).to_pylist()
    strange = [{**rows[0], "segment_id": "stranger"}, rows[1]]
    pq.write_table(pq.read_table(path, partitioning=None).from_pylist(rows + strange), path)
    read = FinalExport(root=str(tmp_path)).read_shard("lang=hi/s")
    assert read.rows["id"].to_pylist() == ["hi-s-000", "hi-s-001", "stranger"]
    assert (read.rows["offset"][2].as_py() > 0, read.rows["size"][2].as_py()) == (True, 0)
    assert read.dropped == {"id met twice (lang=hi/s: hi-s-000)": 1}


@pytest.mark.parametrize("name", ["audio.tar", "audio_index.parquet", "metadata.parquet", "manifest.json"])
def test_half_written_shard_is_named_with_what_is_missing(tmp_path, write_shard, name):
    write_shard(tmp_path / "lang=hi" / "s", [0.3])
    (tmp_path / "lang=hi" / "s" / name).unlink()
    with pytest.raises(BrokenShard, match=rf"lang=hi/s: {name} is missing"):
        FinalExport(root=str(tmp_path)).read_shard("lang=hi/s")


@pytest.mark.parametrize(("name", "content"), [("metadata.parquet", b"no parquet"), ("manifest.json", b"{")])
def test_unreadable_file_is_named(tmp_path, write_shard, name, content):
    write_shard(tmp_path / "lang=hi" / "s", [0.3])
    (tmp_path / "lang=hi" / "s" / name).write_bytes(content)
    with pytest.raises(BrokenShard, match=rf"lang=hi/s: {name}"):
        FinalExport(root=str(tmp_path)).read_shard("lang=hi/s")


def test_offsets_of_other_segments_are_found_by_walking_the_tar(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.3, 0.3, 0.3])
    expected = list(FinalExport(root=str(tmp_path)).build())
    path = tmp_path / "lang=hi" / "s" / "audio_index.parquet"
    table = pq.read_table(path, partitioning=None)
    places = {name: table[name].to_pylist()[::-1] for name in ("offset", "size")}
    others = table.drop_columns(list(places))
    for name, values in places.items():
        others = others.append_column(name, [values])
    for swapped in (others, others.drop_columns(["member"])):
        pq.write_table(swapped, path)
        assert list(FinalExport(root=str(tmp_path)).build()) == expected


def test_member_names_need_not_be_ids_where_offsets_are_given(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4])
    expected = [(row["offset"], row["size"]) for row in FinalExport(root=str(tmp_path)).build()]
    for name in ("audio_index", "metadata"):
        path = tmp_path / "lang=hi" / "s" / f"{name}.parquet"
        rows = pq.read_table(path, partitioning=None).to_pylist()
        for row in rows:
            row["segment_id"] = "x" + row["segment_id"]
            row.pop("member", None)
        pq.write_table(pa.Table.from_pylist(rows), path)
    found = list(FinalExport(root=str(tmp_path)).build())
    assert [(row["offset"], row["size"]) for row in found] == expected
    assert found[0]["id"] == "xhi-s-000"


def test_damaged_tar_header_loses_the_audio_of_one_segment(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4, 0.5])
    rows = list(FinalExport(root=str(tmp_path)).build())
    tar = tmp_path / "lang=hi" / "s" / "audio.tar"
    data = bytearray(tar.read_bytes())
    data[rows[1]["offset"] - 512 : rows[1]["offset"] - 300] = bytes(212)
    tar.write_bytes(data)
    path = tmp_path / "lang=hi" / "s" / "audio_index.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["offset", "size"]), path)
    read = FinalExport(root=str(tmp_path)).read_shard("lang=hi/s")
    assert read.rows["id"].to_pylist() == ["hi-s-000", "hi-s-002", "hi-s-001"]
    assert [size > 0 for size in read.rows["size"].to_pylist()] == [True, True, False]


def test_absent_lengths_of_single_rows_come_from_the_audio(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4, 0.5])
    expected = list(FinalExport(root=str(tmp_path)).build())
    path = tmp_path / "lang=hi" / "s" / "metadata.parquet"
    rows = pq.read_table(path, partitioning=None).to_pylist()
    rows[0]["duration"] = rows[0]["num_samples"] = rows[1]["sampling_rate"] = rows[2]["num_samples"] = None
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert list(FinalExport(root=str(tmp_path)).build()) == expected


@pytest.mark.parametrize("duration", [0.0, -1.0, float("inf")])
def test_stated_durations_stay_as_they_are(tmp_path, write_shard, duration):
    write_shard(tmp_path / "lang=hi" / "s", [0.3])
    path = tmp_path / "lang=hi" / "s" / "metadata.parquet"
    rows = pq.read_table(path, partitioning=None).to_pylist()
    pq.write_table(pa.Table.from_pylist([{**rows[0], "duration": duration}]), path)
    assert next(FinalExport(root=str(tmp_path)).build())["duration"] == duration


def test_what_one_file_has_and_the_other_has_not_is_counted(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4])
    path = tmp_path / "lang=hi" / "s" / "metadata.parquet"
    rows = pq.read_table(path, partitioning=None).to_pylist()
    pq.write_table(pa.Table.from_pylist([row for row in rows if row["segment_id"] != "hi-s-000"]), path)
    assert FinalExport(root=str(tmp_path)).read_shard("lang=hi/s").dropped == {
        "no metadata for the audio (lang=hi/s: hi-s-000)": 1,
        "counted in manifest.json, not in metadata.parquet (lang=hi/s)": 1,
    }


def test_tokens_are_joined_by_id_where_asked_for(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3, 0.4])
    path = tmp_path / "lang=hi" / "s" / "xcodec2_tokens.parquet"
    with pytest.raises(BrokenShard, match=r"lang=hi/s: xcodec2_tokens\.parquet is missing"):
        next(FinalExport(root=str(tmp_path), tokens=True).build())
    pq.write_table(pa.table({"segment_id": ["hi-s-001", "other"], "codes": [[1, 2], [3]]}), path)
    rows = list(FinalExport(root=str(tmp_path), tokens=True).build())
    assert [row["tokens"] for row in rows] == [None, [1, 2]]
    assert "tokens" not in next(FinalExport(root=str(tmp_path)).build())
    assert FinalExport(root=str(tmp_path), tokens=True).read_shard("lang=hi/s").rows.schema == SCHEMA


def test_sound_of_a_row_is_read_through_the_reader(corpus):
    reader = FinalExport(root=str(corpus), langs=["ta"])
    row = next(reader.build())
    samples, rate = reader.read_audio(row)
    assert (len(samples), rate) == (row["num_samples"], 16000)


def test_shards_are_read_from_a_uri(corpus):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in corpus.glob("lang=ta/**/*.*"):
        memory.pipe(f"/corpus/{path.relative_to(corpus)}", path.read_bytes())
    reader, local = FinalExport(root="memory://corpus"), FinalExport(root=str(corpus), langs=["ta"])
    assert reader.shards() == local.shards()
    assert list(reader.build()) == list(local.build())
    assert reader.signature(reader.shards()[0])


def test_root_mistakes_are_named(tmp_path, corpus):
    with pytest.raises(ValueError, match=r"no value given for reader\.root; set it or MAYA_DATA"):
        FinalExport().shards()
    with pytest.raises(ValueError, match=r"reader\.root is no folder"):
        FinalExport(root=str(tmp_path / "none")).shards()
    with pytest.raises(ValueError, match=r"no shards under .*expected .*lang=xx/<shard>"):
        FinalExport(root=str(tmp_path)).shards()
    with pytest.raises(ValueError, match=r"no shards of language 'bn' .*there are: en, hi, ta"):
        FinalExport(root=str(corpus), langs=["bn"]).shards()


def test_config_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`columns` may map .*, got 'txt'"):
        FinalExport(columns={"txt": "a"})
    with pytest.raises(ValueError, match="no text profile named 'asr-v9'"):
        FinalExport(text="asr-v9")


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_walk_agrees_with_tarfile(tar_format):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, size in (("a.flac", 1000), ("dir/" * 30 + "b.flac", 512), ("c.flac", 0)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(b"x" * size))
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar]
    assert [tuple(member) for member in walk(buffer)] == expected


def test_flac_info_of_other_bytes_is_zero():
    assert flac_info(b"RIFF" + bytes(30)) == (0, 0)


def test_manifest_need_not_name_a_corpus(tmp_path, write_shard):
    write_shard(tmp_path / "lang=hi" / "s", [0.3])
    (tmp_path / "lang=hi" / "s" / "manifest.json").write_text(json.dumps([]))
    assert next(FinalExport(root=str(tmp_path)).build())["corpus"] == ""
