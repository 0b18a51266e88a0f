import json
import pickle
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from maya_data.planning import plan_files, usable
from maya_data.planning.filters import FilterConfig
from maya_data.planning.mix import MixConfig
from maya_data.planning.permutation import hash64
from maya_data.planning.plan import Plan, PlanConfig

NATURAL = MixConfig(policy="natural")


def _epoch(plan, epoch=0):
    return [plan.batch(epoch, step) for step in plan.steps(epoch)]


def _made_up(segments=4000, path="made-up", corpora=2):
    """Two languages, of `corpora` corpora each, and tokens that go with the duration."""
    draws = hash64(np.arange(4 * segments)).reshape(4, segments)
    columns = {
        "duration": ((draws[0] % np.uint64(400)) * (draws[1] % np.uint64(400))).astype(np.float32) / 16000
        + 0.5,
        "lang": (draws[2] % np.uint64(2)).astype(np.uint8),
        "corpus": (draws[3] % np.uint64(corpora)).astype(np.uint8),
        "flags": np.zeros(segments, np.uint8),
    }
    tokens = (columns["duration"] * 5 + (draws[2] >> np.uint64(60)).astype(np.float32)).astype(np.uint16)
    return SimpleNamespace(
        path=path,
        fingerprint=f"made-up-{segments}",
        langs=["hi", "ta"],
        lang_ids=columns["lang"],
        durations=columns["duration"],
        columns=columns,
        names=lambda column: ["read", "spoken"][:corpora],
        token_counts=lambda digest: tokens if digest == "0123456789abcdef" else None,
    )


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
    other = Plan(index, PlanConfig(batch_duration=4), seed=1)
    orders = [[i.tolist() for i in _epoch(p, e)] for p, e in ((plan, 0), (plan, 1), (other, 0))]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]
    assert plan.fingerprint != other.fingerprint


def test_a_mapping_of_settings_is_as_good_as_a_config(index):
    given = {"batch_duration": 4, "mix": {"alpha": 0.0}, "filter": {"min_duration": 0.4}}
    config = PlanConfig(batch_duration=4, mix=MixConfig(alpha=0.0), filter=FilterConfig(min_duration=0.4))
    made = [[i.tolist() for i in _epoch(Plan(index, each))] for each in (given, config)]
    assert made[0] == made[1]
    with pytest.raises(ValueError, match=r"`filter\.min_duraton` is no setting; did you mean"):
        Plan(index, {"filter": {"min_duraton": 1}})


@pytest.mark.parametrize("corpora", [1, 2])
def test_repeats_are_exact_over_epochs(corpora):
    index = _made_up(600, corpora=corpora)
    plan = Plan(index, PlanConfig(batch_duration=40, mix=MixConfig(alpha=[0.0, 0.0], epoch_hours=0.9)))
    counts = Counter(int(i) for e in range(4) for batch in _epoch(plan, e) for i in batch)
    assert sum(counts.values()) == 4 * plan.num_segments
    pairs = np.asarray(index.lang_ids) * 2 + index.columns["corpus"]
    for pair in np.unique(pairs):
        heard = [counts[int(i)] for i in np.flatnonzero(pairs == pair)]
        assert max(heard) - min(heard) <= 4
        assert min(heard) >= 1


def test_languages_get_their_share(index):
    plan = Plan(index, PlanConfig(batch_duration=4, mix=MixConfig(alpha=0.0)))
    ids = np.concatenate(_epoch(plan))
    hours = np.bincount(index.lang_ids[ids], index.durations[ids])
    assert hours / hours.sum() == pytest.approx([1 / 3] * 3, abs=0.05)


@pytest.mark.parametrize("shuffle", ["full", "block", "none"])
@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_ranks_share_each_step_of_any_world(index, world_size, shuffle):
    plan = Plan(index, PlanConfig(batch_duration=2, sync_width=8, shuffle=shuffle))
    steps = plan.steps(1, world_size)
    assert len(steps) * world_size == len(plan.steps(1)) == 8 * plan.num_groups(1)
    together = [plan.batch(1, s, r, world_size).tolist() for s in steps for r in range(world_size)]
    assert together == [plan.batch(1, s).tolist() for s in plan.steps(1)]


def test_no_batch_of_a_group_is_empty_and_one_bin_serves_it(index):
    plan = Plan(index, PlanConfig(batch_duration=2, sync_width=4))
    for step in plan.steps(0, 4):
        group = [plan.batch(0, step, rank, 4) for rank in range(4)]
        assert min(map(len, group)) >= 1
        assert max(map(len, group)) - min(map(len, group)) <= 1


@pytest.mark.parametrize("shuffle", ["full", "block"])
@pytest.mark.parametrize("speeds", [(1.0,), (0.9, 1.0, 1.1)])
def test_any_step_is_found_without_the_ones_before(index, shuffle, speeds):
    config = PlanConfig(batch_duration=2, shuffle=shuffle, speeds=speeds)
    stream = [_epoch(Plan(index, config), epoch) for epoch in range(4)]
    for epoch, step in ((0, 0), (3, 0), (1, 5), (2, 1), (3, 3), (0, len(stream[0]) - 1)):
        assert Plan(index, config).batch(epoch, step).tolist() == stream[epoch][step].tolist()


@pytest.mark.parametrize("settings", [{}, {"speeds": (0.9, 1.1)}, {"shuffle": "block", "window": 64}])
def test_steps_counted_over_all_epochs_are_located(index, settings):
    plan = Plan(index, PlanConfig(batch_duration=2, sync_width=2, **settings))
    endless = [(epoch, step) for epoch in range(5) for step in plan.steps(epoch, 2)]
    assert [plan.locate(number, 2) for number in range(len(endless))] == endless


def test_without_shuffling_batches_go_from_short_to_long(index):
    plan = Plan(index, PlanConfig(batch_duration=4, shuffle="none", mix=NATURAL))
    longest = [index.durations[batch].max() for batch in _epoch(plan)]
    assert longest[0] < longest[-1]
    assert sorted(np.concatenate(_epoch(plan))) == list(range(len(index)))


def test_filters_leave_segments_out(index):
    rules = FilterConfig(min_duration=0.5, max_duration=0.9, langs=["hi"])
    plan = Plan(index, PlanConfig(filter=rules, mix=NATURAL))
    ids = np.concatenate(_epoch(plan))
    assert {index.row(i).lang for i in ids} == {"hi"}
    assert ((index.durations[ids] >= 0.5) & (index.durations[ids] <= 0.9)).all()
    assert plan.rows().tolist() == sorted(ids)


def test_speeds_take_turns_and_shape_the_batches():
    index = _made_up()
    plan = Plan(index, PlanConfig(batch_duration=60, speeds=(0.9, 1.0, 1.1), mix=NATURAL))
    rows = np.arange(len(index.durations))
    factors = np.array([plan.speed_factors(epoch, rows) for epoch in range(3)])
    assert factors.dtype == np.float32
    assert (np.sort(factors, axis=0) == np.array([[0.9], [1.0], [1.1]], np.float32)).all()
    assert (plan.speed_factors(3, rows) == factors[0]).all()
    assert np.bincount(np.round(factors[0] * 10).astype(int))[9:].min() > 1200
    for epoch in range(3):
        batches = _epoch(plan, epoch)
        assert sorted(np.concatenate(batches)) == rows.tolist()
        for batch in batches:
            durations = index.durations[batch] / factors[epoch, batch]
            assert len(batch) * durations.max() <= 60 + 1e-3


def test_quantile_buckets_keep_padding_low():
    index = _made_up(20_000)
    plan = Plan(index, PlanConfig(batch_duration=120, num_buckets=30, sync_width=4, mix=NATURAL))
    durations = [index.durations[batch] for batch in _epoch(plan)]
    padded = sum(float(each.max()) * len(each) for each in durations)
    assert 1 - sum(float(each.sum()) for each in durations) / padded < 0.05


def test_buckets_by_tokens_hold_similar_tokens_and_keep_their_budget():
    index = _made_up(20_000)
    digest = "0123456789abcdef"
    config = PlanConfig(
        batch_duration=60, num_buckets=5, tokenizer=digest, token_buckets=4, batch_tokens=300, mix=NATURAL
    )
    tokens, spread = index.token_counts(digest), []
    for batch in _epoch(Plan(index, config)):
        assert len(batch) * int(tokens[batch].max()) <= 300 or len(batch) == 1
        spread.append(np.ptp(tokens[batch]) / tokens[batch].max())
    assert np.mean(spread) < 0.2
    with pytest.raises(ValueError, match=r"no token counts of `tokenizer` fedcba9876543210; make them with"):
        Plan(index, PlanConfig(num_buckets=5, tokenizer="fedcba9876543210"))


def test_a_table_decides_edges_and_batch_sizes(tmp_path):
    index, table = _made_up(), tmp_path / "table.json"
    rows = [{"max_duration": 3.0, "batch_size": 7}, {"max_duration": 20.0, "batch_size": 2}]
    table.write_text(json.dumps({"buckets": rows}))
    plan = Plan(index, PlanConfig(buckets_file=table, mix=NATURAL))
    sizes = {bool(index.durations[i].max() <= 3): len(i) for i in _epoch(plan)}
    assert sizes[True] in (6, 7)
    assert sizes[False] == 2
    before = plan.parts["batches"]
    table.write_text(json.dumps({"buckets": rows[1:]}))
    assert Plan(index, PlanConfig(buckets_file=table, mix=NATURAL)).parts["batches"] != before
    table.write_text(json.dumps({"buckets": rows[:1]}))
    with pytest.raises(ValueError, match=r"ends at 3 s, but segments last up to .*set `filter.max_duration`"):
        Plan(index, PlanConfig(buckets_file=table))


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("seed", {"seed": 1}),
        ("mix", {"mix": MixConfig(alpha=0.3)}),
        ("filter", {"filter": FilterConfig(max_duration=1.0)}),
        ("batches", {"batch_duration": 5.0}),
    ],
)
def test_the_part_that_differs_is_known(index, part, settings):
    plain, other = Plan(index), Plan(index, PlanConfig(**settings))
    assert {name for name in plain.parts if plain.parts[name] != other.parts[name]} == {part}
    assert plain.fingerprint != other.fingerprint


def test_settings_that_mean_the_same_have_one_digest(index):
    first = Plan(index, PlanConfig(filter=FilterConfig(langs=["hi", "en"]), mix=MixConfig(alpha=1)))
    second = Plan(index, PlanConfig(filter=FilterConfig(langs=["en", "hi"]), mix=MixConfig(alpha=1.0)))
    assert first.parts == second.parts


def test_a_plan_goes_to_another_process(index):
    plan = Plan(index, PlanConfig(batch_duration=4))
    copied = pickle.loads(pickle.dumps(plan))
    assert copied.fingerprint == plan.fingerprint
    assert copied.batch(2, 3).tolist() == plan.batch(2, 3).tolist()


@pytest.fixture
def large(monkeypatch):
    """Lets every index count as a large one."""
    monkeypatch.setattr(usable, "IN_MEMORY", 0)
    monkeypatch.setattr(plan_files, "IN_MEMORY", 0)


@pytest.mark.parametrize("settings", [{}, {"shuffle": "block", "window": 256}, {"speeds": (0.9, 1.1)}])
def test_a_large_plan_is_kept_in_files_and_is_the_same(tmp_path, monkeypatch, settings, request):
    index, config = _made_up(path=tmp_path), PlanConfig(batch_duration=30, **settings)
    small = Plan(index, config)
    request.getfixturevalue("large")
    made = Plan(index, config)
    monkeypatch.setattr("maya_data.planning.plan.build_layout", None)  # no second sorting
    assert len(list((tmp_path / "plans" / index.fingerprint[:16]).iterdir())) == 1
    for plan in (made, Plan(index, config)):
        assert [i.tolist() for i in _epoch(plan)] == [i.tolist() for i in _epoch(small)]


@pytest.mark.usefixtures("large")
def test_files_of_another_seed_are_shared_and_those_of_an_older_index_removed(tmp_path):
    Plan(_made_up(3000, tmp_path), PlanConfig(batch_duration=30))
    for seed in (0, 1):
        Plan(_made_up(4000, tmp_path), PlanConfig(batch_duration=30), seed=seed)
    assert [path.name for path in (tmp_path / "plans").iterdir()] == ["made-up-4000"]
    assert len(list((tmp_path / "plans" / "made-up-4000").iterdir())) == 1


@pytest.mark.usefixtures("large")
def test_an_index_that_cannot_be_written_to_has_its_plans_elsewhere(tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    index = _made_up(path=tmp_path / "index")
    monkeypatch.setattr(plan_files.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    write = plan_files._write
    monkeypatch.setattr(
        plan_files,
        "_write",
        lambda folder, build: (refuse if "index/plans" in str(folder) else write)(folder, build),
    )
    plan = Plan(index, PlanConfig(batch_duration=30))
    assert len(list((tmp_path / "temporary").rglob("order.npy"))) == 1
    assert len(np.concatenate(_epoch(plan))) == plan.num_segments


@pytest.mark.usefixtures("large")
def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plan_files.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no room for the plan, which needs 4 to 6 bytes a segment"):
        Plan(_made_up(path=tmp_path), PlanConfig())
    assert list((tmp_path / "plans").rglob("*.npy")) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_duration": 0}, "`batch_duration` must be above 0, got 0"),
        ({"max_batch_size": 0}, "`max_batch_size` must be 1 or more, got 0"),
        ({"sync_width": 0}, "`sync_width` must be 1 or more, got 0"),
        ({"shuffle": "some"}, "`shuffle` must be one of full, block, none, got 'some'"),
        ({"window": 8}, r"`window` must be `block` \(64\) or more, got 8"),
        ({"speeds": ()}, "`speeds` must be factors from 0.5 to 2"),
        ({"speeds": (0.9, 90)}, r"`speeds` must be factors from 0.5 to 2, got \[0.9, 90.0\]"),
        ({"batch_tokens": 5}, "`batch_tokens` has no effect without `tokenizer`"),
        ({"tokenizer": "x"}, "`tokenizer` cuts buckets again by tokens: set `num_buckets`"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PlanConfig(**settings)


def test_impossible_plans_are_named(index):
    with pytest.raises(ValueError, match="`langs` has 'bn'; the index has: en, hi, ta"):
        Plan(index, PlanConfig(filter=FilterConfig(langs=["bn"])))
    with pytest.raises(ValueError, match=r"no segment of .* passes the filter: .* 70 by min_duration 30"):
        Plan(index, PlanConfig(filter=FilterConfig(min_duration=30)))
    for shuffle in ("full", "block"):
        with pytest.raises(ValueError, match=r"fills? no group of 128 batches"):
            Plan(index, PlanConfig(sync_width=128, shuffle=shuffle))


def test_impossible_batches_are_named(index):
    plan = Plan(index, PlanConfig(sync_width=4))
    with pytest.raises(ValueError, match="must be a multiple of the number of ranks, got 4 for 3 ranks"):
        plan.batch(0, 0, 0, 3)
    with pytest.raises(ValueError, match="multiple of the number of ranks"):
        plan.steps(0, 8)
    with pytest.raises(ValueError, match="`rank` must be from 0 to 1, got 2"):
        plan.batch(0, 0, 2, 2)
    for epoch, step in ((0, len(plan.steps(0))), (0, -1), (-1, 0)):
        with pytest.raises(IndexError, match=rf"step {step} is outside the \d+ steps of epoch {epoch}"):
            plan.batch(epoch, step)
