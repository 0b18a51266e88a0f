import argparse
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from maya_data.audio import files
from maya_data.cli import verify as command
from maya_data.indexing.build import build_index
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


def _flip(shard, offset):
    with open(shard / "audio.tar", "r+b") as tar:
        tar.seek(offset)
        byte = tar.read(1)[0]
        tar.seek(offset)
        tar.write(bytes([byte ^ 4]))


def test_any_executor_does_the_work_and_progress_reaches_the_end(index):
    told = []
    with ThreadPoolExecutor(2) as executor:
        found = verify_index(index, level=3, executor=executor, progress=lambda *said: told.append(said))
    assert found.bad == []
    assert max(done for done, _, _ in told) == len(index)


def test_one_flipped_bit_of_a_tar_header_is_found(shard):
    index = _index(shard)
    _flip(shard, int(index.columns["offset"][1]) - 512 + 110)  # inside the owner's number
    (bad,) = verify_index(index, level=1, processes=1).bad
    assert (bad.id, bad.row) == ("hi-000-001", 1)
    assert "has no tar header before its first byte, or a damaged one" in bad.error


def test_processes_find_the_same(shard):
    index = _index(shard)
    _flip(shard, int(index.columns["offset"][1]) + 9000)
    alone = verify_index(index, level=3, processes=1)
    assert verify_index(index, level=3, processes=2) == alone
    assert len(alone.bad) == 1


def _run(*arguments):
    commands = argparse.ArgumentParser().add_subparsers()
    command.add(commands)
    parsed = commands.choices["verify"].parse_args([str(argument) for argument in arguments])
    return parsed.run(parsed)


def test_command_has_a_status_and_writes_what_it_found(shard, tmp_path, capsys):
    index, out = _index(shard), tmp_path / "made" / "bad.json"
    assert _run(index.path, "--level", 3, "--json", out) == 0
    assert json.loads(out.read_text()) == {"segments": 8, "level": 3, "bad": []}
    _flip(shard, int(index.columns["offset"][1]) + 9000)
    assert _run(index.path, "--level", 3, "--json", out) == 1
    (bad,) = json.loads(out.read_text())["bad"]
    assert (bad["id"], bad["shard"], bad["row"]) == ("hi-000-001", TAR, 1)
    assert bad["error"] in capsys.readouterr().err


def test_moved_audio_is_found_with_root(shard, tmp_path):
    index = _index(shard)
    (tmp_path / "root").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="is not there; say with --root where the audio is"):
        _run(index.path)
    assert _run(index.path, "--root", tmp_path / "moved") == 0


def test_a_level_that_does_not_exist_is_named(index):
    with pytest.raises(ValueError, match="`level` must be 0 to 3, got 4"):
        verify_index(index, level=4)


def test_a_shard_that_could_not_be_indexed_is_a_finding(shard):
    (shard / "metadata.parquet").write_bytes(b"x")
    (bad,) = verify_index(_index(shard), level=0, processes=1).bad
    assert (bad.id, bad.shard) == ("", "lang=hi/000")
    assert "metadata.parquet cannot be read" in bad.error


def test_rows_behind_a_file_that_cannot_be_read_are_told(shard, monkeypatch):
    index = _index(shard)

    def fail(path, *rest):
        raise files.UnreadableFile(f"{path} cannot be read: no answer")

    monkeypatch.setattr(files, "size_of", fail)
    bad = verify_index(index, level=3, processes=1).bad
    assert len(bad) == len(index)
    assert "is in a file that cannot be read" in bad[0].error


def test_metadata_without_audio_has_rows_but_no_audio_to_verify(shard):
    index = _index(shard)
    (shard / "audio.tar").unlink()
    (shard / "manifest.json").write_text(json.dumps({"segments": 6, "audio": False}))
    assert verify_index(index, level=0, processes=1).bad == []
    assert [bad.error for bad in verify_index(index, level=1, processes=1).bad] == [
        f"{TAR}: its manifest says that it is metadata without audio"
    ]
