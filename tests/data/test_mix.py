import numpy as np
import pytest

from maya_data.planning.filters import FilterConfig
from maya_data.planning.mix import MixConfig, MixRow, MixTable, explain, repeats
from maya_data.planning.usable import Component

LANGS = ["en", "hi", "as"]
HOURS = np.array([28.0, 16.0, 1.0])
ONE_CORPUS = [Component(lang, "all") for lang in LANGS]
TWO_CORPORA = [Component("en", "big"), Component("en", "small"), Component("hi", "only")]


def _ratios(mix, hours=HOURS, components=ONE_CORPUS, counts=None):
    hours = np.array(hours, np.float64)
    counts = (hours * 1000).astype(np.int64) if counts is None else np.array(counts)
    return repeats(components, hours, counts, mix)


def _hours(mix, hours=HOURS, components=ONE_CORPUS, counts=None):
    return _ratios(mix, hours, components, counts) * np.array(hours)


def test_natural_takes_everything_once():
    assert _ratios(MixConfig(policy="natural")).tolist() == [1, 1, 1]


def test_temperature_takes_shares_of_powers_of_hours():
    assert _hours(MixConfig(alpha=0.5)) == pytest.approx(45 * HOURS**0.5 / (HOURS**0.5).sum())


def test_corpora_share_what_their_language_gets_by_size_or_by_a_power_of_it():
    natural = _hours(MixConfig(alpha=0.0), [9.0, 1.0, 10.0], TWO_CORPORA)
    assert natural == pytest.approx([9.0, 1.0, 10.0])
    rooted = _hours(MixConfig(alpha=[0.5, 0.0]), [9.0, 1.0, 10.0], TWO_CORPORA)
    assert rooted == pytest.approx([7.5, 2.5, 10.0])


def test_a_capped_corpus_leaves_its_rest_to_its_language_and_a_capped_language_to_the_others():
    mix = MixConfig(alpha=[0.0, 0.0], max_repeats=2.0)
    assert _hours(mix, [9.0, 1.0, 10.0], TWO_CORPORA) == pytest.approx([8.0, 2.0, 10.0])
    assert _hours(mix, [1.0, 1.0, 10.0], TWO_CORPORA) == pytest.approx([2.0, 2.0, 8.0])


def test_cap_passes_the_rest_to_the_others():
    assert _hours(MixConfig(alpha=0.0, max_repeats=3.0)) == pytest.approx([21, 21, 3])


def test_capped_everywhere_makes_a_shorter_epoch():
    assert _ratios(MixConfig(max_repeats=0.5, alpha=1.0)).tolist() == [0.5, 0.5, 0.5]


def test_two_stages_match_the_largest_corpus_and_then_the_largest_language():
    hours = _hours(MixConfig(policy="two_stage", max_repeats=100.0), [9.0, 1.0, 3.0], TWO_CORPORA)
    assert hours == pytest.approx([9.0, 9.0, 18.0])


def test_two_stages_stop_at_the_cap_and_keep_to_chosen_hours():
    capped = _hours(MixConfig(policy="two_stage", max_repeats=4.0), [9.0, 1.0, 3.0], TWO_CORPORA)
    assert capped == pytest.approx([9.0, 4.0, 12.0])
    chosen = MixConfig(policy="two_stage", epoch_hours=8.0)
    assert _hours(chosen, [9.0, 1.0, 3.0], TWO_CORPORA) == pytest.approx([2.0, 2.0, 4.0])


def test_two_stages_without_a_cap_in_reach_make_the_hours_of_the_guide():
    table = np.array([28, 16, 13, 12, 11, 10, 7, 6, 5, 5, 3, 1.0])
    components = [Component(f"l{number}", "all") for number in range(12)]
    mix = MixConfig(policy="two_stage", max_repeats=30.0)
    assert _hours(mix, table, components).sum() == pytest.approx(12 * 28)


def test_utterances_are_balanced_by_their_number():
    mix = MixConfig(unit="utterances", alpha=0.0)
    ratios = _ratios(mix, [30.0, 1.0, 1.0], counts=[100, 100, 400])
    assert ratios * [100, 100, 400] == pytest.approx([200, 200, 200])


def test_hours_of_an_epoch_are_exact_in_either_unit():
    for unit in ("hours", "utterances"):
        mix = MixConfig(unit=unit, alpha=0.3, epoch_hours=20.0)
        assert _hours(mix, counts=[900, 2000, 10]).sum() == pytest.approx(20.0)


def test_weights_and_epoch_hours_are_taken_literally():
    mix = MixConfig(policy="weights", weights={"en": 1, "hi": 3, "as": 0}, epoch_hours=8)
    assert _hours(mix) == pytest.approx([2, 6, 0])


def test_weights_may_name_corpora_inside_a_language_or_alone():
    inside = {"en": 1, "hi": 1, "en/big": 1, "en/small": 3}
    mix = MixConfig(policy="weights", weights=inside, epoch_hours=4)
    assert _hours(mix, [9.0, 9.0, 9.0], TWO_CORPORA) == pytest.approx([0.5, 1.5, 2.0])
    alone = MixConfig(policy="weights", weights={"hi": 2, "en/big": 1, "en/small": 1}, epoch_hours=4)
    assert _hours(alone, [9.0, 9.0, 9.0], TWO_CORPORA) == pytest.approx([1.0, 1.0, 2.0])


def test_weights_must_name_every_language_and_no_other():
    with pytest.raises(ValueError, match="`weights` lacks 'hi'; the languages are: en, hi, as"):
        _ratios(MixConfig(policy="weights", weights={"en": 1, "as": 1}))
    with pytest.raises(ValueError, match="`weights` has 'ta', which the index has not"):
        _ratios(MixConfig(policy="weights", weights=dict.fromkeys([*LANGS, "ta"], 1.0)))
    one = MixConfig(policy="weights", weights={"en": 1, "hi": 1, "en/big": 1})
    with pytest.raises(ValueError, match="`weights` lacks 'en/small', though it weighs another corpus"):
        _ratios(one, [1.0, 1.0, 1.0], TWO_CORPORA)
    unknown = MixConfig(policy="weights", weights={"en": 1, "hi": 1, "en/huge": 1})
    with pytest.raises(ValueError, match="`weights` has 'en/huge', which the index has not"):
        _ratios(unknown, [1.0, 1.0, 1.0], TWO_CORPORA)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "even"}, "`policy` must be one of .*natural, got 'even'"),
        ({"unit": "words"}, "`unit` must be hours or utterances, got 'words'"),
        ({"alpha": -1}, "`alpha` must be a number from 0 up, or two"),
        ({"alpha": [1, 2, 3]}, r"`alpha` must be .*within, across\], got \[1, 2, 3\]"),
        ({"alpha": "half"}, "`alpha` must be a number"),
        ({"max_repeats": 0}, "`max_repeats` must be above 0, got 0"),
        ({"epoch_hours": -1}, "`epoch_hours` must be above 0, got -1"),
        ({"weights": {"hi": 1}}, "`weights` has no effect with policy 'temperature'"),
        ({"policy": "weights", "weights": {"hi": -1}}, "`weights` must not be negative"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MixConfig(**settings)


def test_explain_adds_up(index):
    made = explain(index, MixConfig())
    assert [(row.lang, row.corpus, row.segments) for row in made.rows] == [
        ("en", "tiny", 40),
        ("hi", "tiny", 20),
        ("ta", "tiny", 10),
    ]
    assert sum(row.share for row in made.rows) == pytest.approx(1)
    assert made.epoch_hours == pytest.approx(index.hours)
    assert made.filter.segments == 70


def test_explain_tells_what_was_left_out(index):
    made = explain(index, MixConfig(), FilterConfig(min_duration=0.5, langs=["hi"]))
    assert [row.lang for row in made.rows] == ["hi"]
    removed = {each.rule: each.segments for each in made.filter.removed}
    assert removed["min_duration 0.5 s"] == int((index.durations < 0.5).sum())
    assert made.filter.segments + sum(removed.values()) == len(index)


def test_corpora_of_a_language_are_added_up():
    rows = [MixRow("en", "a", 10, 1.0, 20, 2.0, 0.4, 2.0), MixRow("en", "b", 10, 3.0, 10, 3.0, 0.6, 1.0)]
    together = MixTable(rows, None).langs["en"]
    assert (together.hours, together.epoch_hours, together.repeats) == (4.0, 5.0, 1.25)
