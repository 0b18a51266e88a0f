import io

import pytest

from maya_bridge.transcribe_files.inputs import outputs, sources


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("b.wav", "a.MP3", "notes.txt", ".hidden.wav", "deep/er/c.flac", ".git/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*arguments):
    return [source.name for source in sources(arguments, None)]


def test_a_folder_is_its_audio_files_sorted(tree):
    assert names(".") == ["a.MP3", "b.wav", "deep/er/c.flac"]


def test_a_name_with_a_line_end_is_not_left_out(tree):
    (tree / "deep" / "two\nlines.wav").touch()
    assert names("deep") == ["deep/two\nlines.wav", "deep/er/c.flac"]


def test_patterns_reach_as_deep_as_they_say(tree):
    assert names("*.wav") == ["b.wav"]
    assert names("**/*.flac", "b.wav", "b.wav") == ["deep/er/c.flac", "b.wav", "b.wav"]


def test_a_name_with_brackets_is_the_file_of_that_name(tree):
    (tree / "take[1].wav").touch()
    assert names("take[1].wav") == ["take[1].wav"]


@pytest.mark.parametrize(
    ("argument", "message"), [("*.opus", "no file matches"), ("empty", "holds no audio files")]
)
def test_what_names_nothing_is_a_mistake_of_its_own(argument, message, tree):
    (tree / "empty").mkdir()

    (found,) = sources([argument], None)

    assert message in found.mistake
    assert argument in found.mistake


def test_standard_input_is_copied_to_a_file(tmp_path):
    (found,) = sources(["-"], tmp_path, io.BytesIO(b"sound"))

    assert found.path.read_bytes() == b"sound"
    assert (found.name, found.is_kept) == ("-", False)
    with pytest.raises(ValueError, match="once"):
        sources(["-", "-"], tmp_path)


def test_transcripts_lie_as_the_files_do_under_their_own_names(tree):
    (tree / "a.wav").touch()

    found = outputs(sources([".", "../" + tree.name + "/deep"], None)[:-1], tree / "out", ".srt")

    shown = [str(path.relative_to(tree / "out")) for path in found]
    assert shown == ["a.MP3.srt", "a.wav.srt", "b.srt", "deep/er/c.srt"]


def test_no_transcript_leaves_the_output_folder(tree):
    found = outputs(sources(["deep/../b.wav", str(tree / "a.MP3")], None), tree / "out", ".txt")

    assert [path.parent for path in found] == [tree / "out"] * 2


def test_two_files_for_one_place_are_refused(tree):
    (tree / "deep/b.wav").touch()
    with pytest.raises(ValueError, match=r"b\.wav and deep/b\.wav would both be written to"):
        outputs(sources(["b.wav", "deep/b.wav"], None), tree / "out", ".txt")
