import io
import os
import pickle
import tarfile

import pytest
import torch

from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.nemo_archive import NemoArchive


def weights(**tensors) -> bytes:
    written = io.BytesIO()
    torch.save(tensors or {"encoder.a": torch.arange(6.0)}, written)
    return written.getvalue()


def pack(path, members: dict[str, bytes], mode="w", kind=tarfile.REGTYPE):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("odd"):
                info.type, info.size, info.linkname = kind, 0, "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return path


MEMBERS = {"./model_config.yaml": b"encoder:\n  d_model: 16\n", "./model_weights.ckpt": weights()}


@pytest.fixture(params=["w", "w:gz", "folder"])
def archive(request, tmp_path):
    path = tmp_path / "a.nemo"
    if request.param == "folder":
        path.mkdir()
        for name, content in MEMBERS.items():
            (path / name).write_bytes(content)
        return path
    return pack(path, MEMBERS, request.param)


def test_plain_and_gzipped_archives_and_unpacked_folders_read_alike(archive):
    read = NemoArchive(archive)
    assert read.config() == {"encoder": {"d_model": 16}}
    assert torch.equal(read.weights()["encoder.a"], torch.arange(6.0))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_too_big_to_keep_are_read_from_the_archive(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("maya_encoder.interop.nemo_archive.SMALL", 64)
    read = NemoArchive(pack(tmp_path / "a.nemo", MEMBERS, mode))
    assert torch.equal(read.weights()["encoder.a"], torch.arange(6.0))


def test_references_within_the_config_are_resolved_and_nothing_else_is(tmp_path):
    config = b"""
model_defaults: {enc_hidden: 16}
encoder: {d_model: "${model_defaults.enc_hidden}", n_heads: "${model.encoder.d_model}", feat_in: "${gone}"}
optim: {lr: "${oc.env:HOME}", self: "${optim.self}"}
"""
    read = NemoArchive(pack(tmp_path / "a.nemo", {**MEMBERS, "./model_config.yaml": config})).config()
    assert read["encoder"] == {"d_model": 16, "n_heads": 16, "feat_in": "${gone}"}
    assert read["optim"]["lr"] == "${oc.env:HOME}"


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a/../../evil", "..\\evil"])
def test_member_that_points_outside_is_refused_by_name(tmp_path, name):
    path = pack(tmp_path / "a.nemo", {**MEMBERS, name: b""})
    with pytest.raises(BadCheckpoint, match=r"is refused: its member '.*evil.*' points outside the archive"):
        NemoArchive(path)


@pytest.mark.parametrize(
    ("kind", "word"),
    [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "a device")],
)
def test_member_that_is_no_file_is_refused(tmp_path, kind, word):
    path = pack(tmp_path / "a.nemo", {**MEMBERS, "odd": b""}, kind=kind)
    with pytest.raises(BadCheckpoint, match=f"is refused: its member 'odd' is {word}, not a file"):
        NemoArchive(path)


def test_link_in_an_unpacked_folder_is_refused(tmp_path):
    (tmp_path / "model_config.yaml").write_bytes(b"a: 1")
    os.symlink("/etc/passwd", tmp_path / "model_weights.ckpt")
    with pytest.raises(BadCheckpoint, match=r"its member 'model_weights\.ckpt' is a link"):
        NemoArchive(tmp_path)


class Runs:
    def __reduce__(self):
        return os.system, ("touch evil",)


def zipped(value, **how) -> bytes:
    written = io.BytesIO()
    torch.save(value, written, **how)
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        zipped({"a": Runs()}),
        zipped({"a": Runs()}, pickle_protocol=4),
        zipped({"a": Runs()}, _use_new_zipfile_serialization=False),
        pickle.dumps({"a": Runs()}),
    ],
    ids=["zip", "zip4", "legacy", "bare"],
)
def test_pickle_that_wants_to_run_code_is_refused_by_the_name_it_calls(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    read = NemoArchive(pack(tmp_path / "a.nemo", {**MEMBERS, "./model_weights.ckpt": content}))
    with pytest.raises(BadCheckpoint, match=r"ckpt is refused: its pickle wants to run posix\.system,"):
        read.weights()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nonsense", "is damaged or no file of weights"),
        (b"", "is damaged or no file of weights"),
        (weights()[:200], "is damaged or no file of weights"),
        (zipped([1]), "must hold named tensors, got list"),
        (zipped({"a": 1}), "must hold named tensors alone, but 'a' is of type int"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path, content, reason):
    read = NemoArchive(pack(tmp_path / "a.nemo", {**MEMBERS, "./model_weights.ckpt": content}))
    with pytest.raises(BadCheckpoint, match=rf"a\.nemo: model_weights\.ckpt {reason}"):
        read.weights()


def test_weights_of_one_model_parallel_rank_are_read(tmp_path):
    members = {
        "./model_config.yaml": b"a: 1",
        "./mp_rank_00/model_weights.ckpt": MEMBERS["./model_weights.ckpt"],
    }
    assert "encoder.a" in NemoArchive(pack(tmp_path / "a.nemo", members)).weights()


def test_weights_in_parts_are_explained(tmp_path):
    parts = {f"./mp_rank_{rank:02}/model_weights.ckpt": weights() for rank in range(2)}
    read = NemoArchive(pack(tmp_path / "a.nemo", {"./model_config.yaml": b"a: 1", **parts}))
    with pytest.raises(
        BadCheckpoint, match=r"in 2 parts, one a GPU .*mp_rank_00/model_weights\.ckpt.*save it anew"
    ):
        read.weights()


def test_archive_without_config_or_weights_names_what_is_missing(tmp_path):
    with pytest.raises(BadCheckpoint, match=r"is no NeMo archive: it has no model_config\.yaml"):
        NemoArchive(pack(tmp_path / "a.nemo", {"x": b""}))
    read = NemoArchive(pack(tmp_path / "b.nemo", {"./model_config.yaml": b"a: 1"}))
    with pytest.raises(BadCheckpoint, match=r"it has no model_weights\.ckpt"):
        read.weights()


@pytest.mark.parametrize("config", [b"[1, 2]", b"a: [", b"\xff\xfe", b"a: !!python/name:os.system"])
def test_config_that_is_no_plain_mapping_is_refused(tmp_path, config):
    read = NemoArchive(pack(tmp_path / "a.nemo", {**MEMBERS, "./model_config.yaml": config}))
    with pytest.raises(BadCheckpoint, match=r"model_config\.yaml (is no YAML|must hold keys and values)"):
        read.config()


def test_what_is_no_tar_is_refused(tmp_path):
    (tmp_path / "a.nemo").write_bytes(b"no tar" * 200)
    with pytest.raises(BadCheckpoint, match=r"a\.nemo is no tar archive, or a damaged one"):
        NemoArchive(tmp_path / "a.nemo")
    with pytest.raises(BadCheckpoint, match=r"gone\.nemo does not exist"):
        NemoArchive(tmp_path / "gone.nemo")


def test_truncated_gzip_is_refused(tmp_path):
    path = pack(tmp_path / "a.nemo", MEMBERS, "w:gz")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(BadCheckpoint, match=r"is no tar archive, or a damaged one"):
        NemoArchive(path)


def test_artifact_that_is_not_in_the_archive_is_named(tmp_path):
    read = NemoArchive(pack(tmp_path / "a.nemo", {**MEMBERS, "./abc_tokenizer.model": b"model"}))
    for reference in ("nemo:abc_tokenizer.model", "nemo:./abc_tokenizer.model", "/data/abc_tokenizer.model"):
        assert read.artifact(reference, "tokenizer.model_path") == b"model"
    with pytest.raises(BadCheckpoint, match=r"tokenizer\.model_path is 'nemo:x', which is no member"):
        read.artifact("nemo:x", "tokenizer.model_path")
