import json

import pytest

from maya_data import Plan
from maya_data.cli import main
from maya_data.indexing.segments import SegmentIndex


@pytest.fixture(autouse=True)
def _no_default_root(monkeypatch):
    monkeypatch.delenv("MAYA_DATA", raising=False)


def test_index_stats_mix_and_tokenizer_work_in_a_row(corpus, tmp_path, capsys):
    index = str(tmp_path / "index")
    assert main(["index", str(corpus), "--reader", "final_export", "--out", index]) == 0
    assert "70 segments" in capsys.readouterr().out
    figures, page = tmp_path / "made" / "stats.json", tmp_path / "stats.html"
    assert main(["stats", index, "--json", str(figures), "--html", str(page)]) == 0
    assert json.loads(figures.read_text())["hours"].keys() == {"en", "hi", "ta"}
    assert page.read_text().startswith("<!doctype html>")
    shares = tmp_path / "mix.json"
    weights = ["--policy", "weights", "--weight", "en=1", "hi=1", "ta=2"]
    assert main(["mix", "explain", index, *weights, "--json", str(shares)]) == 0
    assert [row["share"] for row in json.loads(shares.read_text())["rows"]] == pytest.approx(
        [0.25, 0.25, 0.5]
    )
    options = ["--vocab-size", "50", "--type", "char", "--script", "common"]
    assert main(["tokenizer", index, "--out", str(tmp_path / "tokenizer"), *options]) == 0
    assert (tmp_path / "tokenizer" / "tokenizer.yaml").is_file()


def test_root_may_come_from_the_environment(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAYA_DATA", str(corpus))
    assert main(["index", "--out", str(tmp_path), "--langs", "ta"]) == 0
    assert "10 segments" in capsys.readouterr().out


def _cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


BREAKAGE = {
    "an empty folder": (lambda shard: [path.unlink() for path in shard.iterdir()], "audio.tar is missing"),
    "no manifest yet": (lambda shard: (shard / "manifest.json").unlink(), "manifest.json is missing"),
    "an empty tar": (lambda shard: _cut(shard / "audio.tar", 0), "audio.tar is empty"),
    "half a table": (lambda shard: _cut(shard / "metadata.parquet", 0.5), "metadata.parquet cannot be read"),
    "half a manifest": (lambda shard: _cut(shard / "manifest.json", 0.5), "manifest.json is not JSON"),
}


@pytest.mark.parametrize("breakage", BREAKAGE)
def test_a_broken_shard_is_told_in_one_sentence_and_the_good_ones_are_indexed(
    tmp_path, write_shard, capsys, breakage
):
    root, (damage, reason) = tmp_path / "root", BREAKAGE[breakage]
    write_shard(root / "lang=hi" / "good", [0.3])
    write_shard(root / "lang=hi" / "bad", [0.3, 0.4])
    damage(root / "lang=hi" / "bad")
    assert main(["index", str(root), "--out", str(tmp_path / "index")]) == 0
    said = capsys.readouterr()
    told = [line for line in said.err.splitlines() if line.startswith("left out")]
    assert len(told) == 1
    assert told[0].startswith(f"left out shard {root}/lang=hi/bad: {reason}")
    assert "1 segments" in said.out
    opened = SegmentIndex.open(tmp_path / "index")
    assert [opened.row(i).shard for i in range(len(opened))] == ["lang=hi/good/audio.tar"]


def test_segments_beyond_a_cut_tar_are_kept_flagged_and_never_trained_on(tmp_path, write_shard, capsys):
    root = tmp_path / "root"
    write_shard(root / "lang=hi" / "bad", [0.3, 0.3, 0.3, 0.3])
    _cut(root / "lang=hi" / "bad" / "audio.tar", 0.5)
    assert main(["index", str(root), "--out", str(tmp_path / "index")]) == 0
    said = capsys.readouterr().err
    index = SegmentIndex.open(tmp_path / "index")
    assert len(index) == 4
    assert "(row 3) has no audio in its shard" in said
    assert 0 < len(Plan(index, {"mix": {"policy": "natural"}}).rows()) < 4


def test_nothing_but_broken_shards_is_status_two_and_one_sentence(tmp_path, capsys):
    (tmp_path / "root" / "lang=hi" / "bad").mkdir(parents=True)
    assert main(["index", str(tmp_path / "root"), "--out", str(tmp_path / "index")]) == 2
    mistake = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("index: ")]
    assert len(mistake) == 1
    assert "nothing to index: all 1 shards are broken" in mistake[0]
    assert "lang=hi/bad: audio.tar is missing" in mistake[0]


def test_a_shard_that_is_being_written_is_not_indexed_and_not_told(tmp_path, write_shard, capsys):
    root = tmp_path / "root"
    write_shard(root / "lang=hi" / "good", [0.3])
    write_shard(root / "lang=hi" / ".other.123.partial", [0.3])
    assert main(["index", str(root), "--out", str(tmp_path / "index")]) == 0
    assert "partial" not in capsys.readouterr().err
    assert len(SegmentIndex.open(tmp_path / "index")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "--out", "x"], "no value given for reader.root; set it or MAYA_DATA"),
        (["index", ".", "--reader", "final_exprt", "--out", "x"], "Did you mean 'final_export'?"),
        (["stats", "nowhere"], "nowhere is no segment index"),
        (
            ["mix", "explain", "nowhere", "--policy", "weights", "--weight", "hi=much"],
            "nowhere is no segment",
        ),
    ],
)
def test_mistake_is_one_line_and_status_two(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_weight_must_be_a_number(index, capsys):
    arguments = ["--policy", "weights", "--weight", "hi=much"]
    assert main(["mix", "explain", str(index.path), *arguments]) == 2
    assert "`--weight` must look like hi=2.0, got hi=much" in capsys.readouterr().err


def test_synth_hands_its_arguments_on(tmp_path, monkeypatch, capsys):
    calls = []
    synth = pytest.importorskip("maya_data.synth")
    monkeypatch.setattr(synth, "write_corpus", lambda out, **options: calls.append((out, options)))
    assert main(["synth", str(tmp_path), "--langs", "hi", "--test", "3"]) == 0
    out, options = calls[0]
    assert out == str(tmp_path)
    assert (options["langs"], options["test"], options["sentences"]) == (["hi"], 3, 400)
