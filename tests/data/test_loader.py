"""What a loader gives out, what it leaves out, and how it ends."""

import pickle
import shutil
from itertools import islice

import numpy as np
import pytest
import soundfile
import torch

from maya_data.audio.fetch import read_audio
from maya_data.indexing.build import build_index
from maya_data.loading.batch import Utterance, collate
from maya_data.loading.loader import build_loader, iter_once, make_loader
from maya_data.loading.reading import Job, Reader
from maya_data.planning.mix import MixConfig
from maya_data.planning.plan import Plan, PlanConfig
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
    ids = plan.batch(0, 0)
    assert batch.ids == [index.row(i).id for i in ids]
    assert batch.langs == [index.row(i).lang for i in ids]
    assert batch.waveforms.dtype == torch.int16
    for row, length, i in zip(batch.waveforms, batch.waveform_lens, ids, strict=True):
        assert row[:length].numpy().tolist() == read_audio(index, i).tolist()
        assert not row[length:].any()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_any_start_and_any_workers_give_the_uninterrupted_batches(index, plan, num_workers):
    steps = plan.num_steps() + 4
    whole = list(islice(make_loader(index, plan), steps))
    start = plan.num_steps() - 2
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


def test_speed_changes_lengths_and_goes_round(index):
    plan = {"batch_duration": 3, "speeds": [0.9, 1.0, 1.1], "mix": {"policy": "natural"}}
    with build_loader({"index": index.path, "plan": plan}) as loader:
        heard = {}
        for batch in loader:
            if batch.epoch == 3:
                break
            for name, length in zip(batch.ids, batch.waveform_lens.tolist(), strict=True):
                heard.setdefault(name, set()).add(length)
    row = index.row(3)
    assert {round(length / row.num_samples, 1) for length in heard[row.id]} == {0.9, 1.0, 1.1}


def test_noise_follows_from_seed_epoch_position_and_segment(index, tmp_path):
    noise = np.random.default_rng(0).normal(0, 3000, 40000).astype(np.int16)
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "n.wav", noise, 16000)
    augment = {"noise": {"root": str(tmp_path / "noise"), "prob": 0.5, "cache": str(tmp_path / "cache")}}
    config = {"index": index.path, "plan": {"batch_duration": 3, "sync_width": 4}, "augment": augment}
    clean = list(islice(build_loader(config | {"augment": {}}), 24))
    noisy = list(islice(build_loader(config), 24))
    assert (
        np.mean([not torch.equal(a.waveforms, b.waveforms) for a, b in zip(clean, noisy, strict=True)]) > 0.2
    )
    with build_loader(config | {"num_workers": 2}) as loader:
        assert all(_same(a, b) for a, b in zip(noisy, islice(loader, 24), strict=True))
    ranks = [build_loader(config, rank, 4) for rank in range(4)]
    read = [next(loader).waveforms for _ in range(6) for loader in ranks]
    assert all(torch.equal(a.waveforms, b) for a, b in zip(noisy, read, strict=True))


def test_segment_has_other_noise_each_time_it_is_heard(index, tmp_path):
    noise = np.random.default_rng(0).normal(0, 3000, 40000).astype(np.int16)
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "n.wav", noise, 16000)
    augment = {"noise": {"root": str(tmp_path / "noise"), "prob": 1.0, "cache": str(tmp_path / "cache")}}
    heard = {}
    with build_loader({"index": index, "plan": {"batch_duration": 3}, "augment": augment}) as loader:
        for batch in islice(loader, 3 * len(loader)):
            for name, row in zip(batch.ids, batch.waveforms, strict=True):
                heard.setdefault(name, []).append(row[:2000].numpy().tobytes())
    often = [waves for waves in heard.values() if len(waves) > 1]
    assert often
    assert all(len({*waves}) == len(waves) for waves in often)


@pytest.mark.parametrize("speeds", [None, np.float32([1.1, 0.9, 1.0, 1.1])])
def test_segments_read_together_are_those_read_one_by_one(damaged, speeds):
    (tamil,) = {i for i in range(len(damaged)) if damaged.row(i).id == "ta-000-003"}
    job = Job(np.array([4, 5, tamil, 33]), 2, 1, speeds)
    one, all_ = (
        Reader(damaged, 16000, "asr-v1", read_audio, together=together)[job] for together in (False, True)
    )
    assert _same(one.batch, all_.batch)
    assert one.failures == all_.failures
    assert [i for i, _ in one.failures] == [tamil]


def test_reader_and_what_it_gives_cross_to_other_processes(damaged):
    reader = Reader(damaged, 16000, "asr-v1", read_audio)
    loaded = reader[Job(np.array([4, len(damaged) - 1]))]
    copied = pickle.loads(pickle.dumps(reader))[Job(np.array([4, len(damaged) - 1]))]
    crossed = pickle.loads(pickle.dumps(loaded))
    for other in (copied, crossed):
        assert _same(loaded.batch, other.batch)
        assert loaded.failures == other.failures


def test_batches_come_back_from_processes_as_ordinary_tensors(index):
    with build_loader({"index": index.path, "plan": {"batch_duration": 3}, "num_workers": 1}) as loader:
        batch = next(loader)
    assert not batch.waveforms.is_shared()
    assert batch.waveforms.dtype == torch.int16
    batch.waveforms += 1  # writable
