import pytest
import torch

from maya_eval.metrics import CharErrors, ClusterErrors, SentenceErrors, WordErrors


def test_rates_and_counts_of_a_corpus():
    metric = WordErrors()
    metric.update(["a b c", "d e"], ["a x c", "d"], ["1", "2"])
    metric.update(["f"], ["f g"], ["3"])
    result = metric.compute()
    assert {name: value.item() for name, value in result.items()} == {
        "rate": 0.5,
        "sub": 1,
        "del": 1,
        "ins": 1,
        "ref": 6,
        "utterances": 3,
    }


def test_an_utterance_seen_twice_counts_once():
    metric = CharErrors()
    metric.update(["ab", "cd"], ["ab", "cx"], ["1", "2"])
    metric.update(["cd"], ["xx"], ["2"])
    assert metric.compute()["rate"].item() == 0.25


def test_two_ranks_with_padding_equal_one():
    alone, first, second = WordErrors(), WordErrors(), WordErrors()
    refs, hyps, ids = ["a b", "c d e", "f g h i"], ["a b", "c x e", "f g h j"], ["1", "2", "3"]
    alone.update(refs, hyps, ids)
    first.update(refs[:2], hyps[:2], ids[:2])
    second.update([refs[2], refs[0]], [hyps[2], hyps[0]], [ids[2], ids[0]])
    first.merge_state(second)
    assert first.compute() == alone.compute()


def test_gathered_ranks_may_be_uneven_and_empty():
    idle, busy = WordErrors(), WordErrors()
    busy.update(["a b", "c"], ["a", "c"], ["1", "2"])
    theirs = torch.cat(busy.rows)
    idle.sync(dist_sync_fn=lambda mine, group: [mine, theirs], distributed_available=lambda: True)
    assert idle._computed is None
    assert torch.equal(idle.rows, theirs)
    assert idle.rows.dtype == torch.int64


def test_counts_do_not_stop_where_float32_would():
    metric = WordErrors()
    metric.update(["a"], ["a"], ["0"])
    metric.rows = [torch.tensor([[1, 2**24, 0, 0, 2**24], [2, 1, 0, 0, 1]])]
    metric = metric.to(torch.bfloat16).set_dtype(torch.float16)
    assert metric.compute()["ref"].item() == 2**24 + 1


def test_no_reference_gives_nan():
    metric = WordErrors()
    metric.update([], [], [])
    assert metric.compute()["rate"].isnan()


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length, got 2, 1, 2"):
        WordErrors().update(["a", "b"], ["a"], ["1", "2"])


def test_clusters_and_sentences_are_counted_too():
    clusters, sentences = ClusterErrors(), SentenceErrors()
    for metric in (clusters, sentences):
        metric.update(["क्षत्रिय", "a"], ["क्षत्रीय", "a"], ["1", "2"])
    assert clusters.compute()["rate"].item() == 0.25
    assert sentences.compute()["rate"].item() == 0.5


def test_a_call_gives_the_batch_and_keeps_the_corpus():
    metric = WordErrors()
    assert metric(["a b"], ["a x"], ["1"])["rate"].item() == 0.5
    assert metric(["c d"], ["c d"], ["2"])["rate"].item() == 0.0
    assert metric.compute()["rate"].item() == 0.25
    metric.reset()
    metric.update(["a"], ["a"], ["1"])
    assert metric.compute()["utterances"].item() == 1
