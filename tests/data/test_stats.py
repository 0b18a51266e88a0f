import io
import json

import pytest
from rich.console import Console

from maya_data.stats import describe


def test_figures_add_up(index):
    stats = describe(index)
    assert stats.segments == 70
    assert sum(stats.hours.values()) == pytest.approx(stats.total_hours)
    assert [(row.lang, row.segments, row.speakers) for row in stats.langs] == [
        ("en", 40, 2), ("hi", 20, 2), ("ta", 10, 2),
    ]  # fmt: skip
    assert stats.corpora == pytest.approx({"tiny": stats.total_hours})
    assert stats.sampling_rates == {"16000": 70}
    assert sum(stats.durations["counts"]) >= 69


def test_characters_a_second_are_of_the_whole_language(index):
    seconds = index.durations[index.lang_ids == 0].sum()
    assert describe(index).langs[0].chars_per_second == pytest.approx(40 * len("don't stop") / seconds)


def test_json_holds_plain_values(index):
    assert json.loads(json.dumps(describe(index).to_dict()))["segments"] == 70


def test_page_opens_offline_and_is_escaped(index, monkeypatch):
    monkeypatch.setitem(index.info, "broken", {"lang=hi/<b>": "no & tar"})
    page = describe(index).to_html()
    assert "<svg" in page
    assert "http" not in page
    assert "lang=hi/&lt;b&gt;" in page


def test_table_names_every_language(index):
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(describe(index).table())
    text = console.export_text()
    assert all(f" {lang} " in text for lang in index.langs)
