import pytest

from maya_data.cli import main
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.indexing.sources import Source, read_sources

SOMEBODYS = """
from dataclasses import dataclass

@dataclass(kw_only=True)
class Mine:
    root: str = "/x"
    lang: str = "en"

    def build(self):
        yield {"id": "a", "shard": "a.flac", "text": "x", "lang": self.lang, "duration": 1.0}
"""


@pytest.fixture(autouse=True)
def _no_default_root(monkeypatch):
    monkeypatch.delenv("MAYA_DATA", raising=False)


def _yaml(folder, text):
    path = folder / "sources.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def two_roots(tmp_path, write_shard):
    """Two final-export roots with a shard of the same name."""
    write_shard(tmp_path / "one" / "lang=hi" / "000", [0.3, 0.4])
    write_shard(tmp_path / "two" / "lang=hi" / "000", [0.5])
    return tmp_path


def test_a_file_of_sources_is_indexed_in_its_order(two_roots, capsys):
    config = _yaml(
        two_roots,
        f"""
        sources:
          second: {{reader: final_export, root: {two_roots}/two}}
          first: {{reader: final_export, root: {two_roots}/one, langs: [hi]}}
        """,
    )
    out = two_roots / "index"
    assert main(["index", "--config", str(config), "--out", str(out)]) == 0
    assert "3 segments" in capsys.readouterr().out
    made = open_index(out)
    assert [source["name"] for source in made.sources] == ["second", "first"]
    assert [made.location(i).split("/")[-4] for i in range(3)] == ["two", "one", "one"]


def test_appending_a_source_keeps_what_is_there(two_roots):
    out = two_roots / "index"
    first = Source(name="first", settings={"root": str(two_roots / "one")})
    second = Source(name="second", settings={"root": str(two_roots / "two")})
    before = list(build_index(first, out))
    assert list(build_index([first, second], out))[:2] == before


def test_a_source_may_name_a_config_and_overrule_it(tmp_path, monkeypatch):
    configs = tmp_path / "configs" / "reader"
    configs.mkdir(parents=True)
    (configs / "mine.yaml").write_text("name: final_export\nroot: /else\nlangs: [hi]\ntext: ${text}\n")
    (tmp_path / "deep").mkdir()
    config = _yaml(tmp_path / "deep", "text: asr-v1\nsources: {a: {config: mine, root: /here}}")
    (source,) = read_sources(config)
    assert (source.name, source.reader) == ("a", "final_export")
    assert source.settings == {"text": "asr-v1", "root": "/here", "langs": ["hi"]}


def test_the_environment_may_stand_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_AUDIO", "/audio")
    config = _yaml(tmp_path, "sources: {a: {reader: final_export, root: '${oc.env:MY_AUDIO}/x'}}")
    assert read_sources(config)[0].settings["root"] == "/audio/x"


def test_a_reader_of_another_package_is_found_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "somebodys.py").write_text(SOMEBODYS)
    monkeypatch.syspath_prepend(tmp_path)
    reader = Source(name="mine", reader="somebodys:Mine", settings={"lang": "ta"}).open()
    assert build_index(reader, tmp_path / "index")[0].lang == "ta"
    wrong = Source(name="mine", reader="somebodys:Mine", settings={"long": 1})
    with pytest.raises(
        ValueError, match=r"source mine: the reader .* has no setting 'long'; did you mean 'lang'"
    ):
        wrong.open()


MISTAKES = {
    "sources: {a: {reader: final_exprt, root: /x}}": "Did you mean 'final_export'?",
    "sources: {a: {reader: final_export, rot: 1}}": "source a: the reader final_export has no setting 'rot'",
    "sources: {a: {root: /x}}": "source a has no `reader`",
    "sources: {a: /x}": "source a must be a mapping with `reader` and `root`, got '/x'",
    "sources: {}": "has no `sources`; expected",
    "source: {a: {}}": "has 'source'; it may have `sources` and `text`",
    "sources: {a: {config: nowhere}}": "source a asks for configs/reader/nowhere.yaml; not found",
    "sources: {a: {reader: final_export, root: '${oc.env:NOT_SET_AT_ALL}'}}": "NOT_SET_AT_ALL",
    "- a": "must hold a mapping",
    "a: [": "cannot be read",
    "sources: {a: {reader: final_export, root: /x, text: nope}}": "source a: no text profile named 'nope'",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_file_is_one_line_and_status_two(tmp_path, capsys, text):
    config = _yaml(tmp_path, text)
    assert main(["index", "--config", str(config), "--out", str(tmp_path / "index")]) == 2
    error = capsys.readouterr().err
    assert MISTAKES[text] in error
    assert error.count("\n") == 1


COMMANDS = {
    ("--config", "no.yaml"): "no.yaml does not exist",
    ("--config", "x.yaml", "--root", "/x"): "--root and --config exclude each other",
    ("/x", "--root", "/x"): "ROOT and --root are the same",
    ("--root", "/x", "--set", "lang"): "`--set` must look like lang=hi, got lang",
    ("--root", "/x", "--set", "langs=[a"): "`--set` must hold YAML, got langs=[a",
    (
        "--root",
        "/x",
        "--set",
        "long=1",
    ): "the reader final_export has no setting 'long'; did you mean 'langs'?",
}


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_mistake_in_the_command_is_one_line_and_status_two(tmp_path, capsys, arguments):
    assert main(["index", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert COMMANDS[arguments] in error
    assert error.count("\n") == 1


def test_fields_of_the_reader_are_set_from_the_command(two_roots, capsys):
    root, out = str(two_roots / "one"), str(two_roots / "index")
    assert main(["index", "--root", root, "--set", "columns={domain: speaker}", "--out", out]) == 0
    assert open_index(out)[0].domain == "speaker0"


def test_damaged_rows_are_told_by_the_command(two_roots, capsys, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = two_roots / "one" / "lang=hi" / "000" / "metadata.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["duration"] = -1.0
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert main(["index", "--root", str(two_roots / "one"), "--out", str(two_roots / "index")]) == 0
    said = capsys.readouterr()
    assert "2 segments" in said.out
    assert (
        "kept, and flagged: lang=hi/000/audio.tar: segment hi-000-001 (row 1) has a duration that is"
        in said.err
    )
    assert "segments flagged in all: 1 has a duration" in said.err


def test_nothing_to_index_is_told(tmp_path):
    with pytest.raises(ValueError, match="no source to index; give at least one"):
        build_index([], tmp_path)
