from collections import Counter

import numpy as np
import pytest

from maya_data.mix import MixConfig
from maya_data.plan import Plan, PlanConfig

NATURAL = MixConfig(policy="natural")


def _epoch(plan, epoch=0):
    return [batch for g in range(plan.num_groups) for batch in plan.group(epoch, g)]


def test_an_epoch_takes_every_segment_once(index):
    ids = np.concatenate(_epoch(Plan(index, PlanConfig(batch_duration=4, mix=NATURAL))))
    assert sorted(ids) == list(range(len(index)))


def test_batches_stay_inside_the_budget_and_hold_similar_durations(index):
    for batch in _epoch(Plan(index, PlanConfig(batch_duration=4, mix=NATURAL))):
        durations = index.durations[batch]
        assert len(batch) * durations.max() <= 4 + 1e-4
        assert durations.max() / durations.min() < 2


def test_max_batch_size_holds(index):
    plan = Plan(index, PlanConfig(batch_duration=100, max_batch_size=3, mix=NATURAL))
    assert max(map(len, _epoch(plan))) == 3


def test_epochs_differ_and_seeds_differ(index):
    plan = Plan(index, PlanConfig(batch_duration=4))
    other = Plan(index, PlanConfig(batch_duration=4, seed=1))
    orders = [[i.tolist() for i in _epoch(p, e)] for p, e in ((plan, 0), (plan, 1), (other, 0))]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]
    assert plan.fingerprint != other.fingerprint


def test_repeats_are_exact_over_epochs(index):
    mix = MixConfig(alpha=0.0, max_repeats=3.0)
    plan = Plan(index, PlanConfig(batch_duration=4, mix=mix))
    counts = Counter(int(i) for e in range(4) for batch in _epoch(plan, e) for i in batch)
    assert sum(counts.values()) == 4 * plan.num_segments
    for lang in range(3):
        heard = [counts[int(i)] for i in np.flatnonzero(index.lang_ids == lang)]
        assert max(heard) - min(heard) <= 4
        assert min(heard) >= 1


def test_languages_get_their_share(index):
    plan = Plan(index, PlanConfig(batch_duration=4, mix=MixConfig(alpha=0.0)))
    ids = np.concatenate(_epoch(plan))
    hours = np.bincount(index.lang_ids[ids], index.durations[ids])
    assert hours / hours.sum() == pytest.approx([1 / 3] * 3, abs=0.05)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_each_group_in_equal_steps(index, world_size):
    plan = Plan(index, PlanConfig(batch_duration=2, sync_width=4))
    assert plan.num_steps(world_size) * world_size == 4 * plan.num_groups
    steps = plan.num_steps(world_size) + 3
    together = [plan.batch(s, r, world_size).tolist() for s in range(steps) for r in range(world_size)]
    alone = [plan.batch(s).tolist() for s in range(steps * world_size)]
    assert together == alone


def test_no_batch_of_a_group_is_empty_and_one_bin_serves_it(index):
    plan = Plan(index, PlanConfig(batch_duration=2, sync_width=4))
    for g in range(plan.num_groups):
        group = plan.group(0, g)
        assert min(map(len, group)) >= 1
        assert max(map(len, group)) - min(map(len, group)) <= 1


def test_any_step_is_found_without_the_ones_before(index):
    config = PlanConfig(batch_duration=2)
    plan = Plan(index, config)
    stream = [plan.batch(step).tolist() for step in range(3 * plan.num_groups)]
    for step in (0, 1, plan.num_groups - 1, plan.num_groups, 3 * plan.num_groups - 1):
        assert Plan(index, config).batch(step).tolist() == stream[step]


def test_without_shuffling_batches_go_from_short_to_long(index):
    plan = Plan(index, PlanConfig(batch_duration=4, shuffle=False, mix=NATURAL))
    longest = [index.durations[batch].max() for batch in _epoch(plan)]
    assert longest[0] < longest[-1]
    assert sorted(np.concatenate(_epoch(plan))) == list(range(len(index)))


def test_filters_leave_segments_out(index):
    plan = Plan(index, PlanConfig(min_duration=0.5, max_duration=0.9, langs=["hi"], mix=NATURAL))
    ids = np.concatenate(_epoch(plan))
    assert {index.row(i).lang for i in ids} == {"hi"}
    assert ((index.durations[ids] >= 0.5) & (index.durations[ids] <= 0.9)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_duration": 0}, "`batch_duration` must be above 0, got 0"),
        ({"max_batch_size": 0}, "`max_batch_size` must be 1 or more, got 0"),
        ({"sync_width": 0}, "`sync_width` must be 1 or more, got 0"),
        ({"min_duration": 9, "max_duration": 1}, "`min_duration` must be above 0 and at most `max_duration`"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PlanConfig(**settings)


def test_impossible_plans_are_named(index):
    with pytest.raises(ValueError, match="`langs` has 'bn'; the index has: en, hi, ta"):
        Plan(index, PlanConfig(langs=["bn"]))
    with pytest.raises(ValueError, match=r"no segment of .* is left: `min_duration` 30"):
        Plan(index, PlanConfig(min_duration=30))
    with pytest.raises(ValueError, match="fills no group of 128 batches"):
        Plan(index, PlanConfig(sync_width=128))
    with pytest.raises(
        ValueError, match="`sync_width` must be a multiple of the number of ranks, got 4 for 3"
    ):
        Plan(index, PlanConfig(sync_width=4)).batch(0, 0, 3)
    with pytest.raises(IndexError, match="outside the epoch"):
        Plan(index, PlanConfig()).group(0, 10_000)
