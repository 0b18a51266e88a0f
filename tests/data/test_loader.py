import shutil
from itertools import islice

import pytest
import torch

from maya_data.batch import Utterance, collate
from maya_data.fetch import CorruptAudio, read_audio
from maya_data.index import build_index
from maya_data.loader import iter_once, make_loader
from maya_data.mix import MixConfig
from maya_data.plan import Plan, PlanConfig
from maya_data.quarantine import Quarantine, TooManyBadSegments, read_ledger
from maya_data.readers.final_export import FinalExport


@pytest.fixture
def plan(index):
    return Plan(index, PlanConfig(batch_duration=3))


@pytest.fixture
def damaged(corpus, tmp_path):
    """A copy of the corpus whose Tamil audio is all zeros."""
    shutil.copytree(corpus, tmp_path / "root")
    made = build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")
    path = tmp_path / "root" / "lang=ta" / "000" / "audio.tar"
    path.write_bytes(bytes(path.stat().st_size))
    return made


def _same(first, second):
    return (first.ids, first.texts, first.step) == (second.ids, second.texts, second.step) and torch.equal(
        first.waveforms, second.waveforms
    )


def test_batch_holds_what_the_plan_says(index, plan):
    batch = next(make_loader(index, plan))
    ids = plan.batch(0)
    assert batch.ids == [index.row(i).id for i in ids]
    assert batch.langs == [index.row(i).lang for i in ids]
    assert batch.waveforms.dtype == torch.int16
    for row, length, i in zip(batch.waveforms, batch.waveform_lens, ids, strict=True):
        assert row[:length].numpy().tolist() == read_audio(index, i).tolist()
        assert not row[length:].any()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_any_start_and_any_workers_give_the_uninterrupted_batches(index, plan, num_workers):
    steps = plan.num_groups + 4
    whole = list(islice(make_loader(index, plan), steps))
    start = plan.num_groups - 2
    rest = list(islice(make_loader(index, plan, start_step=start, num_workers=num_workers), 6))
    assert all(_same(a, b) for a, b in zip(whole[start:], rest, strict=True))
    assert [batch.step for batch in whole] == list(range(steps))


def test_loader_leaves_the_global_generator_alone(index, plan):
    before = torch.get_rng_state()
    next(make_loader(index, plan))
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_read_different_segments(index):
    plan = Plan(index, PlanConfig(batch_duration=2, sync_width=2, mix=MixConfig(policy="natural")))
    batches = [next(make_loader(index, plan, rank=rank, world_size=2)) for rank in range(2)]
    assert not {*batches[0].ids} & {*batches[1].ids}


def test_wrong_world_size_is_refused_at_once(index, plan):
    with pytest.raises(ValueError, match="multiple of the number of ranks"):
        make_loader(index, plan, world_size=2)


def test_corrupt_segments_are_dropped_and_written_down(damaged, tmp_path):
    plan = Plan(damaged, PlanConfig(batch_duration=3))
    ledger = tmp_path / "ledger.jsonl"
    batches = list(islice(make_loader(damaged, plan, ledger=ledger), plan.num_groups))
    assert {lang for batch in batches for lang in batch.langs} == {"en", "hi"}
    bad = list(read_ledger(ledger))
    assert {line["id"][:3] for line in bad} == {"ta-"}
    assert {*bad[0]} == {"id", "shard", "offset", "error", "step"}


def test_batch_without_any_good_segment_takes_the_next_of_the_plan(damaged):
    plan = Plan(damaged, PlanConfig(batch_duration=3, max_batch_size=1))
    bad = [s for s in range(plan.num_groups) if damaged.row(plan.batch(s)[0]).lang == "ta"]
    batch = next(make_loader(damaged, plan, start_step=bad[0]))
    assert (batch.num_utterances, batch.step) == (1, bad[0])
    assert batch.langs != ["ta"]


def test_nothing_but_corrupt_audio_is_an_error(damaged):
    plan = Plan(damaged, PlanConfig(batch_duration=3, langs=["ta"]))
    with pytest.raises((CorruptAudio, TooManyBadSegments)):
        next(make_loader(damaged, plan))


@pytest.mark.parametrize("world_size", [1, 3])
def test_one_pass_meets_every_utterance_once(index, world_size):
    passes = [iter_once(index, batch_size=4, rank=rank, world_size=world_size) for rank in range(world_size)]
    ids = [i for one_pass in passes for batch in one_pass for i in batch.ids]
    assert sorted(ids) == sorted(index.row(i).id for i in range(len(index)))


def test_one_pass_goes_from_long_to_short_in_the_languages_asked_for(index):
    batches = list(iter_once(index, batch_size=4, langs=["hi"]))
    durations = [duration for batch in batches for duration in batch.durations]
    assert durations == sorted(durations, reverse=True)
    assert {lang for batch in batches for lang in batch.langs} == {"hi"}


def test_one_pass_leaves_corrupt_segments_out(damaged):
    assert sum(batch.num_utterances for batch in iter_once(damaged, batch_size=4)) == 60


def test_one_pass_refuses_empty_batches(index):
    with pytest.raises(ValueError, match="`batch_size` must be 1 or more, got 0"):
        iter_once(index, batch_size=0)


def test_texts_are_spelled_by_the_named_profile(index, plan):
    assert "don't stop" in {t for batch in islice(make_loader(index, plan), 5) for t in batch.texts}
    with pytest.raises(ValueError, match="no text profile named 'none'"):
        make_loader(index, plan, text_profile="none")


def test_batch_moves_to_a_device(index):
    utterances = [
        Utterance("a", read_audio(index, 0), "t", "en"),
        Utterance("b", read_audio(index, 1), "u", "en"),
    ]
    batch = collate(utterances, 16000, 7).to("meta")
    assert batch.waveforms.device.type == "meta"
    assert (batch.num_utterances, batch.step, batch.ids) == (2, 7, ["a", "b"])


def test_too_many_bad_segments_stop_the_run(index, tmp_path):
    quarantine = Quarantine(ledger=tmp_path / "deep" / "ledger.jsonl")
    for _ in range(100):
        quarantine.record(index, 0, ValueError("bad"), 3)
    with pytest.raises(TooManyBadSegments, match=r"101 of 101 segments are unusable, over 0.5%; last: bad"):
        quarantine.record(index, 0, ValueError("bad"), 3)
    assert len(quarantine.ledger.read_text().splitlines()) == 101
    assert len(list(read_ledger(quarantine.ledger))) == 1
