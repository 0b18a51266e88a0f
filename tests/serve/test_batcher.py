"""Which pieces are decoded together, and in which order."""

import asyncio

import pytest

from maya_bridge.serving.batcher import Batcher, Job, Key
from maya_bridge.serving.metrics import Metrics
from maya_bridge.serving.settings import ServeSettings

PLAIN = Key(None, (), False)


@pytest.fixture
def decode_all(sounds):
    """Decode jobs that all wait at the same time: their texts, and the batches."""

    def run(*asked, **settings):
        model = sounds.EchoModel()

        async def together():
            batcher = Batcher(model, ServeSettings(**settings), Metrics(), lambda: len(asked))
            loop = asyncio.get_running_loop()
            jobs = [Job(pieces, lang, key, loop.create_future()) for pieces, lang, key in asked]
            waiting = [asyncio.create_task(batcher.decode(job)) for job in jobs]
            await asyncio.sleep(0)
            batcher.start()
            found = await asyncio.gather(*waiting, return_exceptions=True)
            await batcher.stop()
            return found, jobs

        found, jobs = asyncio.run(together())
        texts = [one if isinstance(one, Exception) else [h.text for h in one] for one in found]
        return texts, model.batches, jobs

    return run


def one(sounds, number, seconds=0.2, lang="hi", key=PLAIN):
    return [sounds.level(number, seconds)], lang, key


def test_all_that_wait_are_one_batch(decode_all, sounds):
    texts, batches, _ = decode_all(*(one(sounds, n) for n in range(1, 6)))
    assert texts == [[f"number {n}"] for n in range(1, 6)]
    assert len(batches) == 1


def test_a_batch_has_so_many_pieces_at_most(decode_all, sounds):
    _, batches, _ = decode_all(*(one(sounds, n) for n in range(1, 6)), max_batch=2)
    assert sorted(map(len, batches)) == [1, 2, 2]


def test_a_batch_has_so_many_seconds_at_most_with_its_padding(decode_all, sounds):
    _, batches, _ = decode_all(*(one(sounds, n, 1.0) for n in range(1, 6)), max_batch_seconds=2)
    assert sorted(map(len, batches)) == [1, 2, 2]


def test_short_and_long_audio_do_not_share_a_batch(decode_all, sounds):
    short = [one(sounds, n, 0.2) for n in (1, 2, 3)]
    _, batches, _ = decode_all(one(sounds, 9, 5.0), *short)
    assert batches == [["number 9"], ["number 1", "number 2", "number 3"]]


def test_other_orders_do_not_share_a_batch(decode_all, sounds):
    _, batches, _ = decode_all(
        one(sounds, 1),
        one(sounds, 2, key=Key("ctc", (), False)),
        one(sounds, 3, key=Key(None, ("name",), False)),
        one(sounds, 4, key=Key(None, (), True)),
        one(sounds, 5, lang="auto"),
        one(sounds, 6, lang="en"),
    )
    assert ["number 1", "number 6"] in batches
    assert len(batches) == 5


def test_hours_of_audio_do_not_hold_up_the_others(decode_all, sounds):
    long = [sounds.level(n, 0.2) for n in range(100, 140)]
    _, batches, _ = decode_all((long, "hi", PLAIN), one(sounds, 1), one(sounds, 2), max_batch=4)
    assert {"number 1", "number 2"} <= set(batches[0])
    assert len(batches) == 11


def test_what_cannot_be_decoded_fails_alone(decode_all, sounds):
    texts, _, _ = decode_all(one(sounds, 1), one(sounds, 13), one(sounds, 3))
    assert texts[0] == ["number 1"]
    assert isinstance(texts[1], RuntimeError)
    assert texts[2] == ["number 3"]


def test_the_first_words_tell_the_language_of_all_pieces(decode_all, sounds):
    pieces = [sounds.level(n) for n in (0, 1, 2, 3)]
    texts, batches, [job] = decode_all((pieces, "auto", PLAIN))
    assert texts == [["", "number 1", "number 2", "number 3"]]
    assert batches == [[""], ["number 1"], ["number 2", "number 3"]]
    assert job.lang == "en"


def test_what_is_given_up_before_its_turn_is_not_decoded(sounds):
    model = sounds.EchoModel()

    async def leave():
        batcher = Batcher(model, ServeSettings(), Metrics(), lambda: 1)
        job = Job([sounds.level(1)], "hi", PLAIN, asyncio.get_running_loop().create_future())
        waiting = asyncio.create_task(batcher.decode(job))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        batcher.start()
        await asyncio.sleep(0.05)
        await batcher.stop()

    asyncio.run(leave())
    assert model.batches == []


def test_other_work_runs_between_the_batches_in_the_same_thread(sounds):
    async def both():
        batcher = Batcher(sounds.EchoModel(), ServeSettings(), Metrics(), lambda: 1)
        result = await batcher.in_thread(max, 1, 2)
        await batcher.stop()
        return result

    assert asyncio.run(both()) == 2
