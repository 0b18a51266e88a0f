from types import SimpleNamespace

import numpy as np
import pytest

from maya_data.indexing.segments import BAD_DURATION, EMPTY_TEXT, UNKNOWN_LANG, WRONG_SCRIPT
from maya_data.planning import filters
from maya_data.planning.filters import Filter, FilterConfig, kept, resolve

FLAGS = [0, EMPTY_TEXT, BAD_DURATION, UNKNOWN_LANG, WRONG_SCRIPT, 0, 0, 0]
DURATIONS = [2.0, 2.0, -1.0, 2.0, 3.0, 0.005, 50.0, 4.0]


@pytest.fixture
def rows():
    """Eight segments, most of them with something wrong."""
    columns = {
        "flags": np.array(FLAGS, np.uint8),
        "chars": np.array([20, 0, 9, 9, 30, 1, 90, 400], np.uint16),
        "corpus": np.array([0, 0, 1, 1, 1, 0, 1, 1], np.uint8),
        "lang": np.array([0, 0, 1, 1, 1, 0, 1, 0], np.uint8),
    }
    return SimpleNamespace(
        path="made-up",
        langs=["en", "hi"],
        lang_ids=columns["lang"],
        durations=np.array(DURATIONS, np.float32),
        columns=columns,
        names=lambda column: {"corpus": ["read", "spoken"], "lang": ["en", "hi"]}[column],
    )


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, [0, 4, 7]),
        ({"max_duration": 3.5}, [0, 4]),
        ({"min_duration": 2.5, "max_duration": 60.0}, [4, 6, 7]),
        ({"max_chars_per_second": 20.0}, [0, 4]),
        ({"langs": ["hi"]}, [4]),
        ({"corpora": ["spoken"]}, [4, 7]),
        ({"wrong_script": "drop"}, [0, 7]),
    ],
)
def test_each_rule_leaves_out_its_own(rows, monkeypatch, settings, left):
    monkeypatch.setattr(filters, "CHUNK", 3)
    assert np.flatnonzero(kept(rows, FilterConfig(**settings))).tolist() == left


def test_a_duration_that_is_no_number_is_left_out(rows):
    rows.durations[0] = np.nan
    assert not kept(rows)[0]


def test_the_report_counts_each_segment_under_the_first_rule(rows):
    report = Filter(rows, FilterConfig(max_chars_per_second=20.0, langs=["en"])).report()
    removed = {each.rule: (each.segments, round(each.hours * 3600, 3)) for each in report.removed}
    assert removed == {
        "duration not above 0": (1, 0.0),
        "empty transcript": (1, 2.0),
        "no audio": (0, 0.0),
        "unknown language": (1, 2.0),
        "min_duration 0.01 s": (1, 0.005),
        "max_duration 40.0 s": (1, 50.0),
        "max_chars_per_second 20.0": (1, 4.0),
        "langs en": (1, 3.0),
    }
    assert (report.segments, report.hours) == (1, pytest.approx(2 / 3600))
    assert str(report).startswith("1 segments are left; removed: 1 by duration not above 0, 1 by empty")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_duration": 9, "max_duration": 1}, "`min_duration` must be above 0 and at most `max_duration`"),
        ({"min_duration": 0}, "`min_duration` must be above 0"),
        ({"max_chars_per_second": 0}, "`max_chars_per_second` must be above 0, got 0"),
        ({"wrong_script": "maybe"}, "`wrong_script` must be keep or drop, got 'maybe'"),
        ({"langs": []}, "`langs` must name at least one"),
        ({"quarantine": "newest"}, "`quarantine` must be null, 'latest' or a version number, got 'newest'"),
        ({"quarantine": -1}, "`quarantine` must be null"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        FilterConfig(**settings)


def test_unknown_names_are_answered_with_the_known_ones(rows):
    with pytest.raises(ValueError, match="`langs` has 'bn'; the index has: en, hi"):
        kept(rows, FilterConfig(langs=["bn"]))
    with pytest.raises(ValueError, match="`corpora` has 'sung'; the index has: read, spoken"):
        kept(rows, FilterConfig(corpora=["sung"]))


def test_the_quarantine_is_left_out(rows, monkeypatch):
    from maya_data.loading import mask

    monkeypatch.setattr(filters, "CHUNK", 3)
    monkeypatch.setattr(mask, "latest_version", lambda path: 2)
    monkeypatch.setattr(mask, "quarantined_rows", lambda index, version: np.array([0, 7][:version]))
    assert np.flatnonzero(kept(rows, FilterConfig(quarantine=1))).tolist() == [4, 7]
    assert np.flatnonzero(kept(rows, FilterConfig(quarantine="latest"))).tolist() == [4]
    assert resolve(rows, FilterConfig(quarantine="latest")).quarantine == 2
    assert np.flatnonzero(kept(rows, FilterConfig(quarantine=0))).tolist() == [0, 4, 7]
