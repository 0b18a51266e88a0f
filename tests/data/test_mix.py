import numpy as np
import pytest

from maya_data.mix import MixConfig, explain, repeats, usable

LANGS = ["en", "hi", "as"]
HOURS = np.array([28.0, 16.0, 1.0])


def test_natural_takes_everything_once():
    assert repeats(HOURS, LANGS, MixConfig(policy="natural")).tolist() == [1, 1, 1]


def test_temperature_takes_shares_of_powers_of_hours():
    target = repeats(HOURS, LANGS, MixConfig(alpha=0.5)) * HOURS
    assert target == pytest.approx(45 * HOURS**0.5 / (HOURS**0.5).sum())


def test_cap_passes_the_rest_to_the_others():
    target = repeats(HOURS, LANGS, MixConfig(alpha=0.0, max_repeats=3.0)) * HOURS
    assert target == pytest.approx([21, 21, 3])


def test_capped_everywhere_makes_a_shorter_epoch():
    assert repeats(HOURS, LANGS, MixConfig(max_repeats=0.5, alpha=1.0)).tolist() == [0.5, 0.5, 0.5]


def test_weights_and_epoch_hours_are_taken_literally():
    mix = MixConfig(policy="weights", weights={"en": 1, "hi": 3, "as": 0}, epoch_hours=8)
    assert repeats(HOURS, LANGS, mix) * HOURS == pytest.approx([2, 6, 0])


def test_weights_must_name_every_language_and_no_other():
    with pytest.raises(ValueError, match="`weights` lacks 'hi'; the languages are: en, hi, as"):
        repeats(HOURS, LANGS, MixConfig(policy="weights", weights={"en": 1, "as": 1}))
    with pytest.raises(ValueError, match="`weights` has 'ta', which the index has not"):
        repeats(HOURS, LANGS, MixConfig(policy="weights", weights=dict.fromkeys([*LANGS, "ta"], 1.0)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "even"}, "`policy` must be temperature, weights or natural, got 'even'"),
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
    rows = explain(index, MixConfig(), usable(index, 0.01, 40.0))
    assert [(row.lang, row.segments) for row in rows] == [("en", 40), ("hi", 20), ("ta", 10)]
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert sum(row.epoch_hours for row in rows) == pytest.approx(index.hours)
