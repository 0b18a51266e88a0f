"""Chunks of long audio: the plan, and merging synthetic streams of words."""

import random
from itertools import pairwise

import pytest

from maya_encoder.decoding import Chunk, DecodedTokens, merge_chunks, plan_chunks
from maya_encoder.tokenizer import Tokenizer

FRAME = 1280
WHOLE = Chunk(0, 0)


@pytest.mark.parametrize("num_samples", [1, 100, 160_000, 160_001, 300_000, 1_000_000, 999_999])
@pytest.mark.parametrize(
    ("chunk", "overlap"), [(160_000, 0), (160_000, 32_000), (160_000, 80_000), (200_001, 7)]
)
def test_chunks_cover_the_recording_and_overlap(num_samples, chunk, overlap):
    plan = plan_chunks(num_samples, FRAME, chunk, overlap)
    assert plan[0].start == 0
    assert plan[-1].end == num_samples
    assert all(one.start % FRAME == 0 and 0 < one.end - one.start <= chunk for one in plan)
    for one, following in pairwise(plan):
        assert one.start < following.start <= one.end - overlap
    assert len(plan) == 1 or num_samples > chunk
    longest, shortest = max(c.end - c.start for c in plan), min(c.end - c.start for c in plan)
    assert longest - shortest <= FRAME * len(plan)


@pytest.mark.parametrize(
    ("chunk", "overlap", "wanted"),
    [
        (1000, 501, "overlap of chunks must be 0 to half of 1000 samples, got 501"),
        (1000, -1, "got -1"),
        (
            2000,
            900,
            "must move on by a frame of 1280 samples or more, got chunks of 2000 that overlap by 900",
        ),
    ],
)
def test_chunks_that_cannot_work_are_refused(chunk, overlap, wanted):
    with pytest.raises(ValueError, match=wanted):
        plan_chunks(10_000, FRAME, chunk, overlap)


def heard(words, chunk=WHOLE):
    """What is heard of (token, start, end) in frames of the recording, in frames of the chunk."""
    first = chunk.start // FRAME
    tokens, starts, ends = zip(*words, strict=True) if words else ((), (), ())
    places = [start - first for start in starts], [end - first for end in ends]
    return DecodedTokens(list(tokens), *places, [-0.1] * len(words), [0.9] * len(words), -3.0)


def test_one_chunk_is_left_as_it_is():
    found = heard([(1, 2, 3), (4, 5, 6)])
    assert merge_chunks([Chunk(0, 9 * FRAME)], [found], FRAME) is found


def in_frames(*chunks):
    return [Chunk(start * FRAME, end * FRAME) for start, end in chunks]


def merged(left, right, chunks):
    found = merge_chunks(chunks, [heard(left, chunks[0]), heard(right, chunks[1])], FRAME)
    return found.tokens


CHUNKS = in_frames((0, 100), (60, 160))  # the middle of the overlap is frame 80


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        ([(1, 10, 12), (2, 79, 81)], [(2, 79, 81), (3, 150, 152)], [1, 2, 3]),
        ([(1, 77, 79)], [(1, 82, 84)], [1]),  # heard late by the later chunk
        ([(1, 82, 84)], [(1, 77, 79)], [1]),  # heard early
        ([(7, 76, 86)], [(8, 77, 85)], [8]),  # heard otherwise: one of them
        ([(7, 70, 82)], [(8, 71, 80)], [7]),
        ([(1, 70, 72), (9, 98, 100)], [(1, 71, 73)], [1]),  # a word cut off at the end of the first chunk
        ([(1, 55, 65)], [(9, 60, 64), (2, 90, 92)], [1, 2]),  # a word cut off at the start of the second
        ([(1, 74, 76)], [], [1]),  # missed by one, before the middle
        ([], [(1, 84, 86)], [1]),  # and behind it
        ([(1, 84, 86)], [], []),  # the chunk that hears better there heard nothing
        ([(5, 76, 77), (5, 81, 82)], [(5, 81, 82), (5, 86, 87)], [5, 5]),  # late by as much as they are apart
        ([(5, 64, 65), (5, 74, 75), (5, 84, 85)], [(5, 74, 75), (5, 85, 86), (5, 94, 95)], [5] * 4),
    ],
)
def test_each_word_is_taken_once(left, right, wanted):
    assert merged(left, right, CHUNKS) == wanted


def test_a_word_heard_as_two_by_one_chunk_is_neither_halved_nor_doubled():
    left = [(1, 62, 64), (2, 76, 79), (3, 80, 84), (4, 96, 98)]
    right = [(1, 62, 64), (23, 76, 84), (4, 96, 98)]
    assert merged(left, right, CHUNKS) in ([1, 2, 3, 4], [1, 23, 4])
    assert merged(right, left, CHUNKS) in ([1, 2, 3, 4], [1, 23, 4])


def test_times_never_decrease_after_merging():
    late, early = [(1, 81, 83)], [(1, 77, 78), (2, 80, 81)]
    found = merge_chunks(CHUNKS, [heard(late, CHUNKS[0]), heard(early, CHUNKS[1])], FRAME)
    assert found.tokens == [1, 2]
    assert found.frames == sorted(found.frames)
    assert all(start < end for start, end in zip(found.frames, found.end_frames, strict=True))


def stream(draw, length):
    """A recording's words: token, start and end; few different ones, so equal ones are close together."""
    words, frame = [], 0
    while frame < length - 12:
        frame += draw.randrange(2, 8)
        end = frame + draw.randrange(1, 6)
        words.append((draw.randrange(4), frame, end))
        frame = end
    return words


def hear(draw, words, chunk, jitter):
    """A chunk's version: every word somewhat early or late, rubbish where a border cuts a word."""
    first, end = chunk.start // FRAME, -(-chunk.end // FRAME)
    found = []
    for token, start, stop in words:
        if stop <= first or start >= end:
            continue
        shift = draw.randint(-jitter, jitter)
        if start < first or stop > end:
            found.append((99, max(start, first), min(stop, end)))
        else:
            place = min(max(start + shift, first), end - 1)
            found.append((token, place, max(place + 1, min(stop + shift, end))))
    starts = sorted(start for _, start, _ in found)
    return [
        (token, start, max(stop, start + 1)) for (token, _, stop), start in zip(found, starts, strict=True)
    ]


@pytest.mark.parametrize("jitter", [0, 1, 2])
@pytest.mark.parametrize("seed", range(40))
def test_merging_gives_back_the_recording(seed, jitter):
    draw = random.Random(seed)
    length = draw.randrange(150, 900)
    words = stream(draw, length)
    chunk = draw.randrange(120, 200)
    chunks = plan_chunks(length * FRAME, FRAME, chunk * FRAME, draw.randrange(30, chunk // 2) * FRAME)
    versions = [heard(hear(draw, words, one, jitter), one) for one in chunks]
    assert merge_chunks(chunks, versions, FRAME).tokens == [token for token, *_ in words]


def test_words_of_a_tokenizer_stay_whole(native_models):
    tokenizer = Tokenizer(native_models[:1])
    tokens = tokenizer.encode("नमस्ते दुनिया नमस्ते")
    chunks = in_frames((0, 40), (20, 60))
    whole = [(token, 2 * n, 2 * n + 1) for n, token in enumerate(tokens)]
    left = [word for word in whole if word[2] <= 40]
    right = [(token, start + 1, end + 1) for token, start, end in whole if start >= 20]
    left[-1] = (right[0][0], *left[-1][1:])  # misheard at the border
    parts = [heard(left, chunks[0]), heard(right, chunks[1])]
    assert tokenizer.decode(merge_chunks(chunks, parts, FRAME, tokenizer).tokens) == "नमस्ते दुनिया नमस्ते"


def test_silence_in_the_first_chunk_does_not_let_rubbish_in():
    assert merged([], [(9, 60, 62), (1, 110, 112)], CHUNKS) == [1]


def test_the_score_of_several_chunks_is_that_of_the_tokens():
    found = merge_chunks(CHUNKS, [heard([(1, 5, 6)], CHUNKS[0]), heard([(2, 130, 131)], CHUNKS[1])], FRAME)
    assert found.score == pytest.approx(-0.2)
    assert found.confidences == pytest.approx([0.905, 0.905], abs=1e-3)
