"""The order of batches is a promise: published numbers depend on it. These digests never change."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from maya_data.planning.filters import FilterConfig
from maya_data.planning.mix import MixConfig
from maya_data.planning.permutation import hash64
from maya_data.planning.plan import Plan, PlanConfig

EPOCHS = (0, 1, 5)
SEGMENTS = 20_000
WEIGHTS = {"en": 1.0, "hi": 2.0, "te": 1.0, "bn": 0.5, "as": 0.0}

MADE_UP = [
    ({}, {}, {}, 11148, "5f9baf4588279c50"),
    ({"seed": 3, "batch_duration": 120.0, "sync_width": 8}, {}, {}, 284, "d7fb7f4a89b623c0"),
    (
        {"batch_duration": 60.0, "max_batch_size": 6, "sync_width": 2},
        {"policy": "natural"},
        {},
        2800,
        "cc7324523e9c1116",
    ),
    (
        {"seed": 11, "batch_duration": 360.0, "sync_width": 4},
        {"alpha": 0.0, "max_repeats": 4.0},
        {},
        194,
        "dafbb3f3e958dd72",
    ),
    ({"batch_duration": 30.0}, {"epoch_hours": 2.5, "alpha": 0.3}, {}, 394, "16157165ab84c95c"),
    (
        {"batch_duration": 90.0, "sync_width": 2},
        {"policy": "weights", "weights": WEIGHTS},
        {"min_duration": 1.0, "max_duration": 20.0},
        712,
        "b6ebbc497f92a9d4",
    ),
    ({"batch_duration": 50.0, "seed": 5}, {}, {"langs": ["hi", "as"]}, 1831, "b3c2154a329d04f7"),
    ({"batch_duration": 100.0, "shuffle": "none"}, {"policy": "natural"}, {}, 2456, "3f7cdf199a8ff092"),
    ({"batch_duration": 40.0, "sync_width": 2}, {}, {"langs": ["en"]}, 1594, "eb3d718f1c1f011b"),
]

FIXTURE = [
    ({}, {}, 8, "724cd944e37e700a"),
    ({"batch_duration": 4.0, "seed": 1}, {}, 17, "c0e2c0ab1f174d49"),
    ({"batch_duration": 2.0, "sync_width": 4}, {"alpha": 0.0, "max_repeats": 3.0}, 11, "2af0afc2e32619d0"),
    ({"batch_duration": 3.0, "max_batch_size": 3}, {"policy": "natural"}, 30, "1c872bd54c764535"),
]


@dataclass
class MadeUp:
    """Five languages of one corpus each, in plain arrays; nothing in it depends on a library's generator."""

    path: str = "made-up"
    fingerprint: str = "made-up"
    langs: list[str] = field(default_factory=lambda: ["en", "hi", "te", "bn", "as"])

    def __post_init__(self):
        draws = hash64(np.arange(5 * SEGMENTS)).reshape(5, SEGMENTS)
        product = (draws[0] % np.uint64(840)) * (draws[1] % np.uint64(840))
        percent = draws[2] % np.uint64(100)
        self.durations = product.astype(np.float32) / np.float32(16000)
        self.lang_ids = np.searchsorted([45, 75, 90, 98], percent, side="right").astype(np.uint8)
        self.columns = {
            "duration": self.durations,
            "lang": self.lang_ids,
            "corpus": np.zeros(SEGMENTS, np.uint8),
            "flags": (draws[3] % np.uint64(100) == 0).astype(np.uint8),
        }

    def __len__(self):
        return SEGMENTS

    def names(self, column):
        return {"corpus": ["one"], "lang": self.langs}[column]


def _digest(plan, width, line):
    made = hashlib.sha256()
    for epoch in EPOCHS:
        for step in plan.steps(epoch):
            made.update((line(plan.batch(epoch, step)) + "\n").encode())
        assert len(plan.steps(epoch)) == len(plan.steps(0))
    return len(plan.steps(0)) // width, made.hexdigest()[:16]


@pytest.mark.parametrize(("settings", "mix", "rules", "groups", "digest"), MADE_UP)
def test_made_up_segments_keep_their_order(settings, mix, rules, groups, digest):
    config = PlanConfig(**settings, mix=MixConfig(**mix), filter=FilterConfig(**rules))
    plan = Plan(MadeUp(), config)
    found = _digest(plan, config.sync_width, lambda ids: " ".join(map(str, ids.tolist())))
    assert found == (groups, digest)


@pytest.mark.parametrize(("settings", "mix", "groups", "digest"), FIXTURE)
def test_segments_of_shards_keep_their_order(index, settings, mix, groups, digest):
    config = PlanConfig(**settings, mix=MixConfig(**mix))
    found = _digest(
        Plan(index, config), config.sync_width, lambda ids: " ".join(index.string("id", int(i)) for i in ids)
    )
    assert found == (groups, digest)


OTHERS = [
    ({"shuffle": "block", "window": 2048, "batch_duration": 60.0}, "2abfbb8a1251a5ad"),
    ({"speeds": (0.9, 1.0, 1.1), "batch_duration": 60.0, "sync_width": 2}, "819a00c9977e98be"),
    ({"num_buckets": 12, "batch_duration": 120.0}, "14c232903de3a466"),
]


@pytest.mark.parametrize(("settings", "digest"), OTHERS)
def test_orders_of_other_kinds_stay_too(settings, digest):
    plan, made = Plan(MadeUp(), PlanConfig(seed=2, **settings)), hashlib.sha256()
    for epoch in EPOCHS:
        for step in plan.steps(epoch):
            made.update((" ".join(map(str, plan.batch(epoch, step).tolist())) + "\n").encode())
    assert made.hexdigest()[:16] == digest
