from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from maya_data.planning.mix import MixConfig
from maya_data.planning.permutation import hash64
from maya_data.planning.plan import Plan, PlanConfig

BLOCK, WINDOW = 16, 512
NATURAL = MixConfig(policy="natural")


def _made_up(segments=6000, langs=3):
    draws = hash64(np.arange(2 * segments)).reshape(2, segments)
    lang = np.sort(draws[1] % np.uint64(langs)).astype(np.uint8)  # as in shards, a language lies together
    durations = (20 + draws[0] % np.uint64(16_000)).astype(np.float32) / 1000
    return SimpleNamespace(
        path="made-up",
        fingerprint="made-up",
        langs=["en", "hi", "ta"][:langs],
        lang_ids=lang,
        durations=durations,
        columns={"flags": np.zeros(segments, np.uint8), "lang": lang, "corpus": np.zeros(segments, np.uint8)},
        names=lambda column: ["one"],
    )


def _plan(index, **settings):
    given = {"batch_duration": 40, "sync_width": 2, "num_buckets": 6, "mix": NATURAL} | settings
    return Plan(index, PlanConfig(shuffle="block", block=BLOCK, window=WINDOW, **given))


def _epoch(plan, epoch=0):
    return [plan.batch(epoch, step) for step in plan.steps(epoch)]


def test_an_epoch_takes_nearly_every_segment_and_none_twice():
    index = _made_up()
    ids = np.concatenate(_epoch(_plan(index)))
    assert len(np.unique(ids)) == len(ids)
    assert len(ids) >= 0.99 * len(index.durations)


def test_a_window_reads_whole_blocks_of_neighbours():
    plan = _plan(_made_up(langs=1))
    ids = np.concatenate(_epoch(plan))
    window = set((ids[: WINDOW // 2] // BLOCK).tolist())
    assert len(window) <= WINDOW / BLOCK + 1
    others = set((ids[WINDOW * 2 :] // BLOCK).tolist())
    assert len(window & others) <= 2


def test_batches_stay_inside_the_budget_and_mix_the_blocks_of_a_window():
    index = _made_up()
    far = 0
    for batch in _epoch(_plan(index)):
        assert len(batch) * index.durations[batch].max() <= 40 + 1e-3
        far += len(set((batch // BLOCK).tolist())) == len(batch)
    assert far > 0.5 * len(_epoch(_plan(index)))


def test_epochs_and_seeds_differ_but_each_is_the_same_every_time():
    index = _made_up()
    made = [
        [i.tolist() for i in _epoch(_plan(index, seed=seed), epoch)]
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert made[0] == made[1]
    assert made[0] != made[2]
    assert made[0] != made[3]


def test_going_back_and_forth_between_epochs_changes_nothing():
    index = _made_up()
    stream = [_epoch(_plan(index), epoch) for epoch in range(4)]
    plan = _plan(index)
    for epoch, step in ((3, 1), (0, 5), (2, 0), (1, 7), (3, 2), (0, 0)):
        assert plan.batch(epoch, step).tolist() == stream[epoch][step].tolist()


def test_every_segment_is_heard_equally_often_over_the_epochs():
    index = _made_up(3000)
    plan = _plan(index, mix=MixConfig(alpha=0.5, epoch_hours=2.0), sync_width=1)
    counts = Counter(int(i) for epoch in range(5) for batch in _epoch(plan, epoch) for i in batch)
    for lang in range(3):
        heard = np.array([counts[int(i)] for i in np.flatnonzero(index.lang_ids == lang)])
        assert np.ptp(heard) <= 2
        assert heard.min() >= 1
    assert sum(counts.values()) == sum(sum(map(len, _epoch(plan, epoch))) for epoch in range(5))


def test_languages_get_their_share():
    index = _made_up()
    index.durations[index.lang_ids == 0] /= 4
    plan = _plan(index, mix=MixConfig(alpha=0.0, max_repeats=9))
    ids = np.concatenate(_epoch(plan))
    hours = np.bincount(index.lang_ids[ids], index.durations[ids])
    assert hours / hours.sum() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_component_smaller_than_a_block_is_heard():
    index = _made_up(1000, langs=2)
    index.lang_ids[:] = 0
    index.lang_ids[:5] = 1
    counts = Counter(int(i) for epoch in range(3) for batch in _epoch(_plan(index), epoch) for i in batch)
    assert all(counts[i] for i in range(5))


def test_speeds_shape_the_batches_of_blocks():
    index = _made_up()
    plan = _plan(index, speeds=(0.9, 1.1))
    for epoch in range(2):
        for batch in _epoch(plan, epoch):
            durations = index.durations[batch] / plan.speed_factors(epoch, batch)
            assert len(batch) * durations.max() <= 40 + 1e-3
