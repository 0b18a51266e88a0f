import pytest

from maya_data.synth.corpus import Sizes, from_job, plan, to_job
from maya_data.synth.errors import SynthesisError
from maya_data.synth.voices import VoiceSets

pytest.importorskip("babel")
pytest.importorskip("indic_numtowords")

VOICES = VoiceSets(train=("f1", "f2", "m1"), valid=("m2",), test=("m3", "m4"))
SIZES = Sizes(sentences=40, words=2, valid=5, test=10)


@pytest.fixture(scope="module")
def units():
    return plan(["hi", "en"], SIZES, VOICES, seed=0)


def said(units, split, lang="hi", domain="sentence"):
    return [
        utterance
        for unit in units
        if unit.folder.startswith(split) and unit.lang == lang
        for utterance in unit.utterances
        if utterance.domain == domain
    ]


def test_splits_share_no_sentence(units):
    texts = [utterance.text for split in ("train", "valid", "test") for utterance in said(units, split)]

    assert len(texts) == len(set(texts)) == 55


def test_every_word_of_valid_and_test_is_spoken_alone_in_train(units):
    words = {utterance.text for utterance in said(units, "train", domain="word")}

    for split in ("valid", "test"):
        assert {word for utterance in said(units, split) for word in utterance.text.split()} <= words


def test_takes_of_a_word_are_in_different_voices(units):
    takes = {}
    for utterance in said(units, "train", domain="word"):
        takes.setdefault(utterance.text, []).append(utterance.voice)

    assert all(len(voices) == 2 for voices in takes.values())
    assert sum(len(set(voices)) == 2 for voices in takes.values()) > 0.8 * len(takes)


def test_each_split_has_only_its_voices(units):
    for split in ("train", "valid", "test"):
        assert {utterance.voice for utterance in said(units, split)} == set(getattr(VOICES, split))


def test_ids_are_unique(units):
    ids = [utterance.id for unit in units for utterance in unit.utterances]

    assert len(ids) == len(set(ids))


def test_the_plan_is_a_function_of_its_arguments(units):
    assert plan(["hi", "en"], SIZES, VOICES, seed=0) == units
    assert plan(["hi"], SIZES, VOICES, seed=0) == [unit for unit in units if unit.lang == "hi"]
    assert plan(["hi", "en"], SIZES, VOICES, seed=1) != units


def test_test_and_valid_do_not_depend_on_the_size_of_train(units):
    more = plan(["hi"], Sizes(sentences=60, words=1, valid=5, test=10), VOICES, seed=0)

    for split in ("valid", "test"):
        assert said(more, split) == said(units, split)


def test_a_long_split_is_cut_into_shards():
    units = plan(["hi"], Sizes(sentences=100, words=10, valid=1, test=1), VOICES, seed=0)

    assert [unit.folder for unit in units if unit.folder.startswith("train")] == [
        "train/lang=hi/shard-00000",
        "train/lang=hi/shard-00001",
    ]


def test_a_unit_survives_the_way_to_the_worker(tmp_path, units):
    assert from_job(to_job(tmp_path, units[0])) == (tmp_path, units[0])


def test_a_size_below_one_is_refused():
    with pytest.raises(SynthesisError, match="`words` must be 1 or more, got 0"):
        Sizes(words=0)
