import argparse
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from maya_data.cli import stats as command
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.readers.final_export import FinalExport
from maya_data.stats import describe
from maya_data.stats.buckets import buckets
from maya_data.stats.page import page
from maya_data.stats.tables import tables


@pytest.fixture(scope="module")
def stats(index):
    return describe(index)


def _printed(stats):
    console = Console(record=True, width=80, file=io.StringIO())
    for table in tables(stats):
        console.print(table)
    return console.export_text()


def test_figures_add_up(stats, index):
    assert stats.segments == 70
    assert sum(stats.hours.values()) == pytest.approx(stats.total_hours) == pytest.approx(index.hours)
    assert [(row.lang, row.segments, row.speakers) for row in stats.langs] == [
        ("en", 40, 2), ("hi", 20, 2), ("ta", 10, 2),
    ]  # fmt: skip
    assert stats.corpora == pytest.approx({"tiny": stats.total_hours})
    assert [(row.corpus, row.lang, row.segments) for row in stats.corpus_rows] == [
        ("tiny", "en", 40), ("tiny", "hi", 20), ("tiny", "ta", 10),
    ]  # fmt: skip
    assert stats.sampling_rates == {"16000": 70}
    assert stats.speakers.named == 2
    assert sum(row["hours"] for row in stats.speakers.most) == pytest.approx(stats.total_hours)


def test_histograms_hold_every_segment_and_languages_make_the_whole(stats):
    for whole, parts in (
        (stats.durations, [row.durations for row in stats.langs]),
        (stats.chars_per_second, [row.speeds for row in stats.langs]),
    ):
        assert sum(whole.counts) == 70
        assert np.sum(parts, axis=0).tolist() == whole.counts
        assert len(whole.edges) == len(whole.counts) + 1


def test_histogram_counts_what_lies_between_its_edges(stats, index):
    counts, _ = np.histogram(np.round(index.durations, 2), np.array(stats.durations.edges) - 1e-4)
    assert counts.tolist()[:-1] == stats.durations.counts[:-1]


def test_quantiles_are_true_to_a_hundredth(stats, index):
    for number, row in enumerate(stats.langs):
        mine = index.durations[index.lang_ids == number]
        assert row.median_duration == pytest.approx(np.quantile(mine, 0.5, method="inverted_cdf"), abs=0.0051)
        assert row.p95_duration == pytest.approx(np.quantile(mine, 0.95, method="inverted_cdf"), abs=0.0051)
        assert row.mean_duration == pytest.approx(mine.mean())


def test_characters_a_second_are_of_the_whole_language(stats, index):
    seconds = index.durations[index.lang_ids == 0].sum()
    assert stats.langs[0].chars_per_second == pytest.approx(40 * len("don't stop") / seconds)


def test_figures_do_not_depend_on_the_size_of_the_chunks(stats, index, monkeypatch):
    monkeypatch.setattr("maya_data.stats.counting.CHUNK", 7)
    monkeypatch.setattr("maya_data.audit.transcripts.CHUNK", 3)
    again = describe(index)
    assert again.langs == stats.langs
    assert again.charset == stats.charset
    assert again.repeats == stats.repeats


def test_bad_rows_are_counted_and_not_trainable(tmp_path, write_shard):
    import pyarrow as pa
    import pyarrow.parquet as pq

    shard = tmp_path / "root" / "lang=hi" / "000"
    write_shard(shard, [0.5, 0.6, 0.7, 0.8])
    rows = pq.read_table(shard / "metadata.parquet").to_pylist()
    rows[0] |= {"text": ""}
    rows[1] |= {"duration": -3.0}
    rows[2] |= {"text": "வணக்கம்"}
    pq.write_table(pa.Table.from_pylist(rows), shard / "metadata.parquet")
    (row,) = describe(build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")).langs
    assert row.flags == {"empty transcript": 1, "bad duration": 1, "wrong script": 1}
    assert row.hours == pytest.approx((0.8 + 0.6 + 0.5) / 3600)
    assert row.trainable_hours == pytest.approx((0.6 + 0.5) / 3600)


def test_buckets_hold_equal_hours_and_every_segment():
    durations = np.random.default_rng(0).lognormal(1.86, 0.65, 200_000).clip(0.3, 39.9)
    ticks = np.bincount(np.rint(durations * 100).astype(int), minlength=1 << 16)
    table = buckets(ticks, number=30, batch_duration=360.0)
    assert len(table.rows) == 30
    assert sum(row.segments for row in table.rows) == 200_000
    hours = np.array([row.hours for row in table.rows])
    assert hours.max() / hours.min() < 1.1
    assert [row.shortest for row in table.rows[1:]] == [row.longest for row in table.rows[:-1]]
    assert 0.01 < table.padding < 0.06


def test_expected_padding_is_what_random_batches_have():
    rng = np.random.default_rng(1)
    durations = np.rint(rng.uniform(4.0, 6.0, 50_000) * 100) / 100
    ticks = np.bincount(np.rint(durations * 100).astype(int), minlength=1 << 16)
    (row,) = buckets(ticks, number=1, batch_duration=60.0).rows
    assert row.batch_size == 10
    batches = rng.permutation(durations).reshape(-1, 10)
    assert row.padding == pytest.approx(1 - batches.sum() / (batches.max(axis=1).sum() * 10), abs=0.005)


def test_buckets_of_nothing_are_none():
    assert buckets(np.zeros(100, np.int64), number=30, batch_duration=360.0).rows == []


def test_json_holds_plain_values(stats):
    assert json.loads(json.dumps(stats.to_dict()))["segments"] == 70


def test_page_opens_offline_and_is_escaped(index, monkeypatch):
    monkeypatch.setitem(index.info, "broken", {"lang=hi/<b>": "no & tar"})
    made = page(describe(index))
    assert made.count("<svg") >= 4 + 2 * 3
    assert not re.search(r"https?:|src=|@import|url\(", made)
    assert "lang=hi/&lt;b&gt;" in made
    assert "no &amp; tar" in made


def test_tables_name_every_language_within_eighty_columns(stats, index):
    text = _printed(stats)
    assert all(re.search(rf"^ {lang} ", text, re.MULTILINE) for lang in index.langs)
    assert "\u2026" not in text  # nothing is cut


def _run(*arguments):
    commands = argparse.ArgumentParser().add_subparsers()
    command.add(commands)
    parsed = commands.choices["stats"].parse_args([str(argument) for argument in arguments])
    return parsed.run(parsed)


def test_command_prints_and_writes(index, tmp_path, capsys):
    figures, made = tmp_path / "made" / "stats.json", tmp_path / "stats.html"
    assert not _run(index.path, "--json", figures, "--html", made, "--against", index.path)
    said = json.loads(figures.read_text())
    assert said["segments"] == 70
    assert said["hours"].keys() == {"en", "hi", "ta"}
    assert said["overlap"][0]["other_share"] == 1
    assert "texts of other indexes" in capsys.readouterr().out
    assert made.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("setting", [{"num_buckets": 0}, {"batch_duration": 0.0}])
def test_settings_out_of_range_are_named(index, setting):
    with pytest.raises(ValueError, match="must be above 0"):
        describe(open_index(index.path), **setting)
