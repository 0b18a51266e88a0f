import io
import json
import os
import re
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from maya_data.audio.fetch import read_audio
from maya_data.cli import main
from maya_data.export import NemoExport, export_nemo
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.readers.final_export import FinalExport
from maya_data.readers.input_cfg import InputCfg
from maya_data.readers.nemo_tarred import NemoTarred
from maya_data.text import profile

OFFSET_PATTERN = re.compile(r"^(?P<stem>.+)(?P<sub>-sub\d+)(?P<ext>\.\w+)?$")
"""How NeMo finds the member that a line speaks of."""


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def member_of(name):
    match = OFFSET_PATTERN.match(name)
    return match["stem"] + (match["ext"] or "") if match else name


def flac(seconds, seed=0, rate=16000):
    samples = np.random.default_rng(seed).normal(0, 2000, round(seconds * rate)).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    return buffer.getvalue()


class Listed:
    """A reader of the rows that it is given."""

    name, text = "listed", "asr-v1"

    def __init__(self, root, rows):
        self.root, self.rows = str(root), rows

    def build(self):
        common = {"speaker": "", "domain": "", "corpus": "", "lang": "hi", "sampling_rate": 16000, "start": 0}
        for row in self.rows:
            yield common | {"num_samples": round(row["duration"] * 16000), "text": "एक"} | row


def listed(tmp_path, rows):
    return build_index(Listed(tmp_path / "root", rows), tmp_path / "index")


def write_tar(path, members):
    """Write a tar and return the offset and size of every member."""
    path.parent.mkdir(parents=True, exist_ok=True)
    places = {}
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            offset = tar.offset + 512
            tar.addfile(info, io.BytesIO(data))
            places[name] = {"shard": path.name, "offset": offset, "size": len(data)}
    return places


def test_every_tar_is_a_numbered_link_with_a_manifest_and_no_audio_is_copied(index, corpus, tmp_path):
    made = export_nemo(index, tmp_path / "out")

    assert sorted(path.name for path in made.folder.iterdir()) == sorted(
        [*(f"audio_{n}.tar" for n in range(4)), *(f"manifest_{n}.json" for n in range(4)), "input_cfg.yaml"]
    )
    targets = [os.readlink(made.folder / f"audio_{n}.tar") for n in range(4)]
    assert targets == [str(path.resolve()) for path in sorted(corpus.glob("lang=*/*/audio.tar"))]
    assert (made.segments, made.shards, made.left_out) == (70, 4, {})


def test_each_line_is_a_member_of_its_tar_in_the_order_of_the_tar(index, tmp_path):
    folder = export_nemo(index, tmp_path / "out").folder

    for number in range(4):
        with tarfile.open(folder / f"audio_{number}.tar") as tar:
            assert [
                line["audio_filepath"] for line in lines(folder / f"manifest_{number}.json")
            ] == tar.getnames()


def test_a_line_says_what_the_index_says(index, tmp_path):
    folder = export_nemo(index, tmp_path / "out").folder

    by_id = {row.id: row for row in map(index.row, range(len(index)))}
    for number in range(4):
        for line in lines(folder / f"manifest_{number}.json"):
            row = by_id.pop(line["utt_id"])
            assert line == {
                "audio_filepath": f"{row.id}.flac",
                "duration": pytest.approx(row.duration, abs=1e-6),
                "text": row.text,
                **dict.fromkeys(("lang", "source_lang", "target_lang"), row.lang),
                "taskname": "asr",
                "utt_id": row.id,
                "corpus": row.corpus,
                "speaker": row.speaker,
                "domain": row.domain,
                "shard_id": number,
            }
    assert not by_id


def test_text_may_be_spelled_by_the_profile(write_shard, tmp_path):
    write_shard(tmp_path / "root" / "lang=en" / "0", [0.3])
    index = build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")

    said = {}
    for texts in ("raw", "profile"):
        folder = export_nemo(index, tmp_path / texts, NemoExport(texts=texts)).folder
        said[texts] = lines(folder / "manifest_0.json")[0]["text"]

    raw = index.row(0).text
    assert said == {"raw": raw, "profile": profile("asr-v1").normalize(raw, "en")}


def test_a_language_may_have_a_folder_and_an_entry_of_its_own(index, tmp_path):
    folder = export_nemo(index, tmp_path / "out", NemoExport(by="lang")).folder

    assert sorted(path.name for path in (folder / "en").iterdir()) == [
        *("audio_0.tar", "audio_1.tar", "manifest_0.json", "manifest_1.json"),
    ]
    entries = OmegaConf.load(folder / "input_cfg.yaml")
    assert [(entry.tags.lang, entry.weight) for entry in entries] == [("en", 40), ("hi", 20), ("ta", 10)]
    assert entries[0].manifest_filepath == f"{folder}/en/manifest__OP_0..1_CL_.json"
    assert entries[0].tarred_audio_filepaths == f"{folder}/en/audio__OP_0..1_CL_.tar"
    assert {line["shard_id"] for line in lines(folder / "ta" / "manifest_0.json")} == {0}


def test_a_member_that_is_no_segment_has_a_line_to_skip(tmp_path):
    places = write_tar(
        tmp_path / "root" / "a.tar", {"x.flac": flac(0.5), "note.json": b"{}", "y.flac": flac(0.4)}
    )
    rows = [
        {"id": "x", "duration": 0.5, **places["x.flac"]},
        {"id": "y", "duration": 0.4, "text": " ", **places["y.flac"]},
    ]

    made = export_nemo(listed(tmp_path, rows), tmp_path / "out")

    skipped = {
        line["audio_filepath"]: line.get("_skipme", False) for line in lines(made.folder / "manifest_0.json")
    }
    assert skipped == {"x.flac": False, "note.json": True, "y.flac": True}


def test_parts_of_one_member_are_told_apart_and_a_name_like_that_is_still_found(tmp_path):
    members = {"long.flac": flac(2.0), "take-sub1.flac": flac(0.4)}
    places = write_tar(tmp_path / "root" / "a.tar", members)
    rows = [
        {"id": "a", "duration": 0.8, "start": 0, **places["long.flac"]},
        {"id": "b", "duration": 0.5, "start": 16000, **places["long.flac"]},
        {"id": "c", "duration": 0.4, "start": 0, **places["take-sub1.flac"]},
    ]

    made = export_nemo(listed(tmp_path, rows), tmp_path / "out")

    written = lines(made.folder / "manifest_0.json")
    assert [
        (line["utt_id"], member_of(line["audio_filepath"]), line.get("offset", 0)) for line in written
    ] == [
        ("a", "long.flac", 0),
        ("b", "long.flac", 1.0),
        ("c", "take-sub1.flac", 0),
    ]
    assert len({line["audio_filepath"] for line in written}) == 3


@pytest.mark.parametrize("chunk", [1 << 22, 2])
def test_rows_of_a_tar_that_lie_apart_come_into_one_manifest(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("maya_data.export.shards.CHUNK", chunk)
    places = {}
    for tar in ("a", "b"):
        places |= write_tar(tmp_path / "root" / f"{tar}.tar", {f"{tar}{n}.flac": flac(0.3) for n in range(3)})
    names = ["a1", "b0", "a0", "a2", "b1", "b2"]  # pairs of two rise
    rows = [{"id": name, "duration": 0.3, **places[f"{name}.flac"]} for name in names]

    folder = export_nemo(listed(tmp_path, rows), tmp_path / "out").folder

    assert [line["utt_id"] for line in lines(folder / "manifest_0.json")] == ["a0", "a1", "a2"]
    assert [line["utt_id"] for line in lines(folder / "manifest_1.json")] == ["b0", "b1", "b2"]


def test_files_outside_tars_get_an_ordinary_manifest_and_a_config_of_their_own(tmp_path):
    places = write_tar(tmp_path / "root" / "a.tar", {"x.flac": flac(0.5)})
    for name in "yz":
        (tmp_path / "root" / f"{name}.flac").write_bytes(flac(1.0))
    rows = [
        {"id": "x", "duration": 0.5, **places["x.flac"]},
        {"id": "y1", "duration": 0.4, "shard": "y.flac", "offset": 0, "size": 0},
        {"id": "y2", "duration": 0.5, "start": 8000, "shard": "y.flac", "offset": 0, "size": 0},
        {"id": "z", "duration": 1.0, "shard": "z.flac", "offset": 0, "size": 0},
    ]

    made = export_nemo(listed(tmp_path, rows), tmp_path / "out")

    written = lines(made.folder / "files.json")
    paths = [str(tmp_path / "root" / name) for name in ("y.flac", "y.flac", "z.flac")]
    assert [line["audio_filepath"] for line in written] == paths
    assert [line["offset"] for line in written] == [0.0, 0.5, 0.0]
    assert (made.segments, made.shards) == (4, 1)
    assert [entry.type for entry in OmegaConf.load(made.folder / "input_cfg.yaml")] == ["nemo_tarred"]
    (entry,) = OmegaConf.load(made.folder / "input_cfg_files.yaml")
    assert entry == {"type": "nemo", "manifest_filepath": f"{made.folder}/files.json", "weight": 3}


def test_what_cannot_be_linked_is_left_out_counted_and_named_and_numbers_have_no_gap(tmp_path):
    places = {}
    for tar in ("a", "gone", "c"):
        places |= write_tar(tmp_path / "root" / f"{tar}.tar", {f"{tar}.flac": flac(0.3)})
    rows = [{"id": name, "duration": 0.3, **places[f"{name}.flac"]} for name in ("a", "gone", "c")]
    rows += [
        {"id": "cell", "duration": 0.3, "shard": "t.parquet#audio", "offset": 3, "size": 0},
        {"id": "far", "duration": 0.3, "shard": "s3://bucket/a.tar", "offset": 512, "size": 9},
    ]
    index = listed(tmp_path, rows)
    (tmp_path / "root" / "gone.tar").unlink()

    made = export_nemo(index, tmp_path / "out")

    assert made.segments == 2
    assert [Path(os.readlink(made.folder / f"audio_{n}.tar")).name for n in range(2)] == ["a.tar", "c.tar"]
    assert sum(made.left_out.values()) == 3
    assert f"{tmp_path}/root/gone.tar: the audio file is missing" in made.problems
    assert any("audio inside parquet cannot be linked" in problem for problem in made.problems)
    assert any("audio behind a URI cannot be linked" in problem for problem in made.problems)


def test_a_row_beyond_a_cut_tar_is_left_out_and_named(tmp_path):
    tar = tmp_path / "root" / "a.tar"
    places = write_tar(tar, {"x.flac": flac(0.3), "y.flac": flac(0.3)})
    index = listed(tmp_path, [{"id": n, "duration": 0.3, **places[f"{n}.flac"]} for n in "xy"])
    tar.write_bytes(tar.read_bytes()[: places["y.flac"]["offset"] + 9])

    made = export_nemo(index, tmp_path / "out")

    assert made.segments == 1
    assert made.left_out == {"no member of the tar begins at their byte": 1}
    offset = places["y.flac"]["offset"]
    assert made.problems == [f"{tar}: segment y: no member of the tar begins at byte {offset}"]


def test_a_member_whose_header_is_damaged_is_left_out_and_no_other(tmp_path):
    tar = tmp_path / "root" / "a.tar"
    places = write_tar(tar, {f"{n}.flac": flac(0.3) for n in "xyz"})
    index = listed(tmp_path, [{"id": n, "duration": 0.3, **places[f"{n}.flac"]} for n in "xyz"])
    data = bytearray(tar.read_bytes())
    data[places["y.flac"]["offset"] - 512 + 124] = ord("?")
    tar.write_bytes(data)

    made = export_nemo(index, tmp_path / "out")

    assert (made.segments, sum(made.left_out.values())) == (2, 1)


def test_nothing_to_link_is_one_sentence_and_leaves_no_folder(tmp_path):
    index = listed(
        tmp_path, [{"id": "a", "duration": 0.3, "shard": "t.parquet#audio", "offset": 0, "size": 0}]
    )

    with pytest.raises(
        ValueError, match=r"nothing to export: .*t\.parquet#audio: audio inside parquet cannot be"
    ):
        export_nemo(index, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]


def test_a_folder_with_something_in_it_is_refused_and_an_empty_one_is_taken(index, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "audio_7.tar").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(ValueError, match="full is not empty; remove it or choose another folder"):
        export_nemo(index, tmp_path / "full")
    assert export_nemo(index, tmp_path / "empty").segments == 70


def test_a_path_that_nemo_would_expand_is_refused(index, tmp_path):
    with pytest.raises(ValueError, match=r"NeMo would expand '\(' in the path"):
        export_nemo(index, tmp_path / "out(1)")


@pytest.mark.parametrize("setting", ["by", "texts"])
def test_an_unknown_setting_is_refused(setting):
    with pytest.raises(ValueError, match=f"`{setting}` must be .* got 'other'"):
        NemoExport(**{setting: "other"})


def test_an_executor_writes_the_same(index, tmp_path):
    alone = export_nemo(index, tmp_path / "alone")
    with ThreadPoolExecutor(2) as executor:
        shared = export_nemo(index, tmp_path / "shared", executor=executor)

    assert shared.segments == alone.segments
    for path in alone.folder.glob("manifest_*.json"):
        assert (shared.folder / path.name).read_bytes() == path.read_bytes()


def test_progress_counts_the_tars(index, tmp_path):
    calls = []
    export_nemo(index, tmp_path / "out", progress=lambda *call: calls.append(call[:2]))

    assert calls == [(n, 4) for n in range(1, 5)]


def test_the_links_give_the_audio_of_the_index(index, tmp_path):
    folder = export_nemo(index, tmp_path / "out").folder

    row = index.row(33)
    (path,) = [p for p in folder.glob("audio_*.tar") if Path(os.readlink(p)).parent.name == "001"]
    with tarfile.open(path) as tar:
        samples, _ = soundfile.read(io.BytesIO(tar.extractfile(f"{row.id}.flac").read()), dtype="int16")
    np.testing.assert_array_equal(samples, read_audio(open_index(index.path), 33))


@pytest.mark.parametrize("by", ["none", "lang"])
def test_our_own_readers_read_it_back(index, tmp_path, by):
    folder = export_nemo(index, tmp_path / "out", NemoExport(by=by)).folder
    readers = [InputCfg(config=str(folder / "input_cfg.yaml"))]
    readers += [NemoTarred(root=str(folder))] if by == "none" else []

    for number, reader in enumerate(readers):
        again = build_index(reader, tmp_path / str(number))
        rows = {
            row.id: (row.text, row.lang, row.num_samples, row.speaker) for row in map(again.row, range(70))
        }
        assert len(again) == 70
        assert rows == {
            row.id: (row.text, row.lang, row.num_samples, row.speaker) for row in map(index.row, range(70))
        }
        np.testing.assert_array_equal(read_audio(again, again.find(index.row(5).id)), read_audio(index, 5))


def test_the_command_links_and_tells_what_it_left_out(tmp_path, capsys):
    places = write_tar(tmp_path / "root" / "a.tar", {"x.flac": flac(0.5)})
    cell = {"id": "cell", "duration": 0.3, "shard": "t.parquet#audio", "offset": 3, "size": 0}
    index = listed(tmp_path, [{"id": "x", "duration": 0.5, **places["x.flac"]}, cell])

    assert main(["export", "nemo", str(index.path), "--out", str(tmp_path / "out"), "--by", "lang"]) == 0

    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/out: 1 segments in 1 shards\n"
    assert "left out 1 segments: audio inside parquet cannot be linked" in said.err
    assert (tmp_path / "out" / "hi" / "audio_0.tar").is_symlink()
    assert main(["export", "nemo", str(index.path), "--out", str(tmp_path / "out")]) == 2
    assert "out is not empty" in capsys.readouterr().err
