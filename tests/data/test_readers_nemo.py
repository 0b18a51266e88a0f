import io
import json
import tarfile

import numpy as np
import pytest
import soundfile

from maya_data.audio.fetch import read_row
from maya_data.readers import BrokenShard
from maya_data.readers.expand import expand, resolve_paths
from maya_data.readers.input_cfg import InputCfg
from maya_data.readers.nemo import Nemo
from maya_data.readers.nemo_tarred import NemoTarred

RATE = 8000


def flac(seconds, seed=0):
    samples = np.random.default_rng(seed).normal(0, 2000, round(seconds * RATE)).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="FLAC")
    return buffer.getvalue()


def write_lines(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in entries]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def write_tar(path, sounds):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in sounds.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def entry(name, text="hi", **more):
    return {"audio_filepath": name, "duration": 0.5, "text": text, **more}


@pytest.fixture
def plain(tmp_path):
    (tmp_path / "audio").mkdir()
    for number, seconds in enumerate((0.5, 1.0)):
        (tmp_path / f"audio/{number}.flac").write_bytes(flac(seconds, number))
    write_lines(tmp_path / "manifest.json", [entry("audio/0.flac", "नमस्ते", lang="hi"), entry("audio/1.flac")])
    return tmp_path


def test_manifest_lines_are_rows(plain):
    rows = list(Nemo(root=str(plain), manifests="*.json*", lang=None).build())
    assert [(row["id"], row["text"], row["lang"], row["shard"]) for row in rows] == [
        ("audio/0", "नमस्ते", "hi", "audio/0.flac"),
        ("audio/1", "hi", "", "audio/1.flac"),
    ]
    assert (rows[0]["sampling_rate"], rows[0]["num_samples"], rows[0]["start"]) == (RATE, 4000, 0)


def test_root_may_be_the_manifest(plain, monkeypatch):
    expected = list(Nemo(root=str(plain)).build())
    assert list(Nemo(root=str(plain / "manifest.json")).build()) == expected
    monkeypatch.chdir(plain)
    assert list(Nemo(root="manifest.json").build()) == expected


def test_offset_makes_a_row_of_a_part_of_a_file(plain):
    write_lines(
        plain / "manifest.json",
        [
            entry("audio/1.flac", "one", duration=0.25, offset=0.0),
            entry("audio/1.flac", "two", duration=0.25, offset=0.5),
        ],
    )
    first, second = Nemo(root=str(plain)).build()
    assert (first["id"], second["id"]) == ("audio/1", "audio/1-500")
    assert (second["start"], second["num_samples"], second["shard"]) == (4000, 2000, "audio/1.flac")
    whole, _ = soundfile.read(plain / "audio/1.flac", dtype="int16")
    samples, rate = read_row(str(plain), second)
    assert rate == RATE
    assert np.array_equal(samples, whole[4000:6000])


def test_absent_duration_is_what_follows_the_offset(plain):
    write_lines(plain / "manifest.json", [{"audio_filepath": "audio/1.flac", "text": "a", "offset": 0.75}])
    (row,) = Nemo(root=str(plain)).build()
    assert row["duration"] == 0.25


def test_absolute_paths_inside_the_root_become_relative(plain, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "b.flac"
    other.write_bytes(flac(0.5))
    write_lines(plain / "manifest.json", [entry(str(plain / "audio/0.flac")), entry(str(other))])
    inside, outside = Nemo(root=str(plain)).build()
    assert (inside["shard"], outside["shard"]) == ("audio/0.flac", str(other))
    assert len(read_row(str(plain), outside)[0]) == 4000


def test_audio_is_seen_from_the_folder_of_the_manifest(plain):
    write_lines(plain / "sets/dev/manifest.json", [entry("../../audio/0.flac")])
    (row,) = Nemo(root=str(plain), manifests="sets/*/*.json").build()
    assert row["shard"] == "audio/0.flac"


def test_damaged_lines_are_named_and_the_others_stay(plain):
    bad = [
        "{",
        '"text"',
        '{"text": "a"}',
        entry(""),
        entry("audio/0.flac", duration="long"),
        entry("gone.flac"),
    ]
    bad += [entry("audio/0.flac", offset=-1), entry("audio/1.flac", _skipme=True)]
    write_lines(plain / "manifest.json", [entry("audio/0.flac"), *bad])
    rows, dropped = Nemo(root=str(plain)).read_shard("manifest.json")
    assert len(rows) == 1
    assert sum(dropped.values()) == len(bad)
    for number in range(2, 10):
        assert any(f"manifest.json line {number}" in reason for reason in dropped)
    assert "damaged line: it has no 'audio_filepath' (manifest.json line 4)" in dropped
    assert "marked _skipme (manifest.json line 9)" in dropped


def test_empty_and_absent_texts_stay_rows(plain):
    write_lines(plain / "manifest.json", [entry("audio/0.flac", ""), {"audio_filepath": "audio/1.flac"}])
    assert [row["text"] for row in Nemo(root=str(plain)).build()] == ["", ""]


def test_other_fields_are_text_and_language(plain):
    write_lines(
        plain / "manifest.json", [entry("audio/0.flac", answer="ja", spoken="mr-IN", speaker=7, noise="low")]
    )
    reader = Nemo(root=str(plain), text_field="answer", lang_field="spoken")
    (row,) = reader.build()
    assert (row["text"], row["lang"], row["speaker"], row["noise"]) == ("ja", "mr", "7", "low")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a__OP_0..2_CL_.tar", ["a_0.tar", "a_1.tar", "a_2.tar"]),
        ("a_{08..10}.tar", ["a_08.tar", "a_09.tar", "a_10.tar"]),
        ("{x,y}/{0..1}", ["x/0", "x/1", "y/0", "y/1"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{root}/a", ["{root}/a"]),
        ("plain", ["plain"]),
    ],
)
def test_braces_are_expanded(pattern, expected):
    assert expand(pattern) == expected


def test_globs_sort_by_number(tmp_path):
    for number in (0, 2, 10):
        (tmp_path / f"audio_{number}.tar").touch()
    assert resolve_paths(str(tmp_path), ["audio_*.tar"]) == ["audio_0.tar", "audio_2.tar", "audio_10.tar"]
    assert resolve_paths(str(tmp_path), [f"{tmp_path}/audio_*.tar"])[2] == "audio_10.tar"
    with pytest.raises(ValueError, match=r"no file matches b\*\.tar under"):
        resolve_paths(str(tmp_path), ["b*.tar"])


@pytest.fixture
def tarred(tmp_path):
    for shard in range(2):
        names = [f"s{shard}_{number}" for number in range(3)]
        write_tar(tmp_path / f"audio_{shard}.tar", {f"{n}.flac": flac(0.5, i) for i, n in enumerate(names)})
        write_lines(
            tmp_path / f"manifest_{shard}.json", [entry(f"{name}.flac", name) for name in reversed(names)]
        )
    return tmp_path


def test_tars_pair_with_manifests_by_number(tarred):
    reader = NemoTarred(
        root=str(tarred), manifests="manifest__OP_0..1_CL_.json", tars="audio_{0..1}.tar", lang="hi"
    )
    assert reader.shards() == ["audio_0.tar", "audio_1.tar"]
    rows = list(reader.build())
    assert [row["text"] for row in rows] == ["s0_2", "s0_1", "s0_0", "s1_2", "s1_1", "s1_0"]
    for row in rows:
        data = (tarred / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["size"]]
        assert data == flac(0.5, int(row["text"][-1]))
        assert (row["num_samples"], row["lang"]) == (4000, "hi")


def test_one_manifest_serves_several_tars_by_shard_id(tarred):
    lines = [entry("s1_0.flac", shard_id=1), entry("s0_0.flac", shard_id=0), entry("s9_0.flac", shard_id=9)]
    write_lines(tarred / "all.json", [*lines, entry("s1_1.flac"), "{"])
    reader = NemoTarred(root=str(tarred), manifests="all.json", tars="audio_*.tar", lang="hi")
    read = [reader.read_shard(shard) for shard in reader.shards()]
    assert [found.rows["id"].to_pylist() for found in read] == [["s0_0"], ["s1_0"]]
    assert list(read[0].dropped.values()) == [1, 1, 1]
    assert "no tar has the shard_id 9 (all.json line 3)" in read[0].dropped
    assert read[1].dropped == {}


def test_parts_of_one_member_share_it(tarred):
    parts = [
        entry("s0_0-sub1.flac", "a", duration=0.2, offset=0.1),
        entry("s0_0-sub2.flac", "b", duration=0.2, offset=0.3),
    ]
    write_lines(tarred / "manifest_0.json", parts)
    reader = NemoTarred(root=str(tarred), manifests="manifest_{0..1}.json", tars="audio_{0..1}.tar")
    rows = reader.read_shard("audio_0.tar").rows.to_pylist()
    assert [(row["text"], row["start"], row["num_samples"]) for row in rows] == [
        ("a", 800, 1600),
        ("b", 2400, 1600),
    ]
    whole, _ = soundfile.read(io.BytesIO(flac(0.5, 0)), dtype="int16")
    assert np.array_equal(read_row(str(tarred), rows[1])[0], whole[2400:4000])


def test_lines_without_a_member_and_truncated_tars_are_named(tarred):
    write_lines(tarred / "manifest_0.json", [entry("s0_0.flac"), entry("s0_2.flac"), entry("else.flac")])
    tar = tarred / "audio_0.tar"
    reader = NemoTarred(root=str(tarred), manifests="manifest_{0..1}.json", tars="audio_{0..1}.tar")
    last = reader.read_shard("audio_0.tar").rows.to_pylist()[-1]
    tar.write_bytes(tar.read_bytes()[: last["offset"] + 10])
    rows, dropped = reader.read_shard("audio_0.tar")
    assert rows["id"].to_pylist() == ["s0_0"]
    assert dropped == {
        "no audio in audio_0.tar (manifest_0.json line 2: s0_2.flac, manifest_0.json line 3: else.flac)": 2
    }


def test_missing_tar_is_a_broken_shard(tarred):
    (tarred / "audio_1.tar").unlink()
    reader = NemoTarred(root=str(tarred), manifests="manifest_{0..1}.json", tars="audio_{0..1}.tar")
    assert reader.shards() == ["audio_0.tar", "audio_1.tar"]
    with pytest.raises(BrokenShard, match=r"audio_1\.tar: is missing"):
        reader.read_shard("audio_1.tar")


def test_numbers_that_do_not_agree_are_an_error(tarred):
    (tarred / "audio_1.tar").rename(tarred / "audio_2.tar")
    with pytest.raises(ValueError, match=r"no manifest has the number 2 of audio_2\.tar"):
        NemoTarred(root=str(tarred), manifests="manifest_*.json", tars="audio_*.tar").shards()
    with pytest.raises(ValueError, match="2 manifests and 1 tars under"):
        NemoTarred(root=str(tarred), manifests="manifest_*.json", tars="audio_0.tar").shards()


def test_damaged_tar_header_loses_one_member(tarred):
    tar = tarred / "audio_0.tar"
    data = bytearray(tar.read_bytes())
    place = data.index(b"s0_1.flac")
    data[place : place + 200] = b"\xff" * 200
    tar.write_bytes(data)
    reader = NemoTarred(root=str(tarred), manifests="manifest_{0..1}.json", tars="audio_{0..1}.tar")
    rows, dropped = reader.read_shard("audio_0.tar")
    assert rows["id"].to_pylist() == ["s0_2", "s0_0"]
    assert dropped == {"no audio in audio_0.tar (manifest_0.json line 2: s0_1.flac)": 1}


@pytest.fixture
def both(tarred):
    (tarred / "plain").mkdir()
    (tarred / "plain/0.flac").write_bytes(flac(0.5))
    write_lines(tarred / "plain/manifest.json", [entry("0.flac", "plain", answer="other")])
    return tarred


def write_config(folder, text, name="input_cfg.yaml"):
    (folder / name).write_text(text)
    return InputCfg(config=str(folder / name))


NESTED = """
input_cfg:
  - type: group
    weight: 3
    tags: {lang: ta, taskname: asr}
    input_cfg:
      - {type: nemo_tarred, corpus: shards, weight: 1, manifest_filepath: manifest__OP_0..1_CL_.json,
         tarred_audio_filepaths: audio__OP_0..1_CL_.tar}
      - {type: nemo, corpus: plain, weight: 1, manifest_filepath: plain/manifest.json, text_field: answer}
  - {type: nemo, language: hindi, corpus: more, weight: 1, manifest_filepath: plain/manifest.json,
     num_buckets: 3}
"""


def test_nested_groups_give_tags_to_their_entries(both):
    reader = write_config(both, NESTED)
    assert reader.shards() == [
        "0:audio_0.tar",
        "0:audio_1.tar",
        "1:plain/manifest.json",
        "2:plain/manifest.json",
    ]
    rows = list(reader.build())
    assert [(row["lang"], row["corpus"], row["text"]) for row in rows[-3:]] == [
        ("ta", "shards", "s1_0"),
        ("ta", "plain", "other"),
        ("hi", "more", "plain"),
    ]
    assert reader.read_audio(rows[-1])[1] == RATE


def test_root_may_be_the_yaml(both):
    reader = write_config(both, NESTED)
    assert InputCfg(root=reader.config).shards() == reader.shards()
    with pytest.raises(ValueError, match=r"no value given for reader\.config"):
        InputCfg(root=str(both)).shards()


def test_weights_multiply_down_the_groups_and_come_back_as_a_mix(both):
    reader = write_config(both, NESTED)
    assert reader.mix_weights() == pytest.approx({"ta/shards": 0.375, "ta/plain": 0.375, "hi/more": 0.25})


def test_what_the_index_cannot_hold_is_said(both, caplog):
    reader = write_config(both, NESTED)
    notes = reader.notes()
    assert any("num_buckets=3 has no meaning for an index" in note and "yaml[1]" in note for note in notes)
    assert "the tag 'taskname' of 2 entries is no column of the index" in notes
    assert any("policy: weights" in note and "ta/shards: 0.375" in note for note in notes)
    reader.shards()
    assert all(note in caplog.text for note in notes)


def test_config_of_the_guide_is_read(both):
    reader = write_config(
        both,
        f"""
input_cfg:
  - corpus: final_export_hindi
    language: hi
    manifest_filepath: {both}/manifest_0.json
    tarred_audio_filepaths: {both}/audio_*.tar
    type: nemo_tarred
    weight: 10000
""",
    )
    write_lines(both / "manifest_0.json", [entry("s0_0.flac", shard_id=0), entry("s1_0.flac", shard_id=1)])
    rows = list(reader.build())
    assert [(row["id"], row["lang"], row["corpus"]) for row in rows] == [
        ("s0_0", "hi", "final_export_hindi"),
        ("s1_0", "hi", "final_export_hindi"),
    ]
    assert reader.mix_weights() == {"hi/final_export_hindi": 1.0}


def test_lists_of_sets_keep_their_weights_and_groups_may_be_files(both):
    write_config(
        both, "- {type: nemo, lang: bn, manifest_filepath: [[plain/manifest.json, 2.0]]}", "inner.yaml"
    )
    reader = write_config(
        both,
        """
- {type: group, weight: 1, tags: {corpus: inside}, input_cfg: inner.yaml}
- type: nemo_tarred
  weight: 1
  tags: {lang: mr}
  manifest_filepath: [[manifest_0.json], [manifest_1.json]]
  tarred_audio_filepaths: [[audio_0.tar], [audio_1.tar]]
""",
    )
    assert reader.shards() == ["0:plain/manifest.json", "1:audio_0.tar", "2:audio_1.tar"]
    assert reader.mix_weights() == {"bn/inside": 0.5, "mr": 0.5}


def test_languages_leave_out_entries(both):
    reader = write_config(both, NESTED)
    chosen = InputCfg(config=reader.config, langs=["hi"])
    assert chosen.shards() == ["2:plain/manifest.json"]


def test_shards_can_be_taken_up_again_and_see_changed_tags(both):
    reader = write_config(both, NESTED)
    before = reader.signature("2:plain/manifest.json")
    assert write_config(both, NESTED).signature("2:plain/manifest.json") == before
    assert write_config(both, NESTED.replace("hindi", "bengali")).signature("2:plain/manifest.json") != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("a: 1", "a list of entries was expected"),
        ("[]", "a list of entries was expected"),
        ("- {type: txt, paths: a}", r"yaml\[0\]: type 'txt' holds no sound that can be indexed"),
        ("- {type: nemo}", r"yaml\[0\]: type 'nemo' needs `manifest_filepath`"),
        ("- {manifest_filepath: a, weight: 1}\n- {manifest_filepath: b}", r"yaml\[1\] has no weight"),
        ("- {manifest_filepath: a, weight: -1}", "weights must be positive"),
        ("- {type: group, input_cfg: [{type: nemo}]}", r"yaml\[0\]\[0\]: type 'nemo' needs"),
    ],
)
def test_mistakes_in_the_yaml_name_the_entry(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        write_config(tmp_path, text).shards()
