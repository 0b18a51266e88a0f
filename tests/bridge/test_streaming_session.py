"""Streams over a stand-in that hears 0.3 s of one loudness as a word, and less of it as its beginning."""

import itertools
import random

import numpy as np
import pytest

from maya_bridge.any_model import LLMModel
from maya_bridge.streaming import Delta, Done, StreamOptions, StreamSession
from maya_encoder.audio import BadAudio
from maya_encoder.hypothesis import Hypothesis, Word

RATE = 16000
WORD = 4800


class LevelModel:
    """Hears loudness k/64 as the word `wk`; its LLM writes it in capitals."""

    langs = ("hi", "ta")
    decodes = ("greedy", "ctc")

    def __init__(self, unsure: float = 0.0, timed: bool = True) -> None:
        self.calls: list[tuple[str, int, tuple[str, ...]]] = []
        self.draw = random.Random(0)
        self.unsure = unsure
        self.timed = timed

    def check(self, lang, decode=None, hotwords=()):
        if lang not in self.langs or decode not in self.decodes:
            raise ValueError(f"no {lang} by {decode}")

    def transcribe(self, audio, langs, *, decode=None, batch_size=16, hotwords=(), words=False):
        (waveform,) = audio
        self.calls.append((decode, len(waveform), hotwords))
        heard = self._words(np.round(np.abs(waveform) * 64).astype(int))
        if decode == "greedy":
            heard = [Word(word.text.upper(), word.start, word.end, 1.0) for word in heard]
        text = " ".join(word.text for word in heard)
        return [Hypothesis(text, langs, decode, len(waveform) / RATE, words=heard if self.timed else [])]

    def _words(self, levels):
        borders = np.flatnonzero(np.diff(levels, prepend=0, append=0))
        found = []
        for start, end in itertools.pairwise(borders):
            if levels[start] and end - start >= 800:
                whole = end - start >= WORD - 160 and self.draw.random() >= self.unsure
                text = f"w{levels[start]}" if whole else f"x{levels[start]}{self.draw.random():.2f}"
                found.append(Word(text, start / RATE, end / RATE, 1.0))
        return found


def speech(levels, gap=0.1, after=0.0) -> np.ndarray:
    parts = [np.r_[np.full(WORD, level / 64), np.zeros(round(gap * RATE))] for level in levels]
    return np.concatenate([*parts, np.zeros(round(after * RATE))]).astype(np.float32)


def stream(session, audio, hop=1600) -> list:
    events = [event for at in range(0, len(audio), hop) for event in session.push(audio[at : at + hop])]
    return events + session.finish()


def words(levels) -> str:
    return " ".join(f"w{level}" for level in levels)


def check_promises(events) -> None:
    """What was stable stays, deltas join to it, and segments follow one another."""
    stable = ""
    segment, end = 0, 0.0
    for event in events:
        assert event.segment == segment
        if isinstance(event, Delta):
            assert event.stable == stable + event.delta
            stable = event.stable
        else:
            assert event.heard == stable
            assert event.start >= end - 1e-3
            segment, end, stable = segment + 1, event.end, ""


def test_words_come_first_as_tail_then_stable_then_done():
    events = stream(StreamSession(LevelModel(), "hi"), speech([1, 2, 3, 4], after=1))
    partial = [event for event in events if isinstance(event, Delta)]
    assert partial[0].tail
    assert partial[0].end <= 1
    assert any(event.stable and event.tail for event in partial)
    assert [event.text for event in events if isinstance(event, Done)] == [words([1, 2, 3, 4])]
    check_promises(events)


@pytest.mark.parametrize("seed", range(8))
def test_stable_text_is_never_taken_back_whatever_the_model_changes(seed):
    model = LevelModel(unsure=0.3)
    model.draw = draw = random.Random(seed)
    levels = [draw.randint(1, 60) for _ in range(80)]
    audio = np.concatenate([speech([level], gap=draw.choice([0, 0.05, 0.3, 1.2])) for level in levels])
    session = StreamSession(model, "hi", options=StreamOptions(cap=8.0, hold=2.0))
    events = stream(session, audio, hop=draw.choice([500, 1600, 12000, 50000]))
    check_promises(events)
    assert sum(isinstance(event, Done) for event in events) > 3


def test_frames_of_any_size_up_to_a_step_give_the_same_events():
    audio = speech([1, 2, 3, 4, 5], after=1.5)
    first, *others = [stream(StreamSession(LevelModel(), "hi"), audio, hop) for hop in (160, 999, 6400)]
    assert [event for event in first if isinstance(event, Done)]
    for other in others:
        assert [(type(e), e.segment, e.text) for e in other] == [(type(e), e.segment, e.text) for e in first]


def test_int16_is_heard_as_floating_samples_are():
    audio = speech([1, 2, 3], after=1)
    shorts = np.round(audio * 32768).astype(np.int16)
    found = stream(StreamSession(LevelModel(), "hi"), shorts)
    assert found == stream(StreamSession(LevelModel(), "hi"), audio)


def test_a_pause_ends_a_segment_and_times_are_those_of_the_stream():
    audio = np.r_[speech([1, 2], after=2), speech([3], after=2)]
    done = [event for event in stream(StreamSession(LevelModel(), "hi"), audio) if isinstance(event, Done)]
    assert [event.text for event in done] == ["w1 w2", "w3"]
    assert done[1].words[0].start == pytest.approx(2.8, abs=0.02)
    assert done[0].end <= done[1].start


def test_a_speaker_without_pauses_is_cut_between_words_before_the_cap():
    options = StreamOptions(cap=6.0, hold=2.0, pause=0.8, min_pause=0.5)
    levels = [1 + n % 50 for n in range(60)]
    done = [
        e
        for e in stream(StreamSession(LevelModel(), "hi", options=options), speech(levels))
        if isinstance(e, Done)
    ]
    assert max(event.end - event.start for event in done) <= 6
    assert " ".join(event.text for event in done) == words(levels)


def test_hours_take_no_more_memory_and_no_longer_steps():
    model, options = LevelModel(), StreamOptions(cap=6.0, hold=2.0, interval=1.0)
    session = StreamSession(model, "hi", options=options)
    part = np.r_[speech(range(1, 30)), np.zeros(5 * RATE, dtype=np.float32)]
    held = []
    for _ in range(40):
        for at in range(0, len(part), RATE):
            session.push(part[at : at + RATE])
            held.append(session.buffered)
    assert session.seconds == pytest.approx(40 * len(part) / RATE)
    assert max(held) <= 7
    assert max(size for _, size, _ in model.calls) <= 6 * RATE
    assert session.segment >= 40


def test_silence_says_nothing_and_is_not_kept():
    session = StreamSession(LevelModel(), "hi")
    assert stream(session, np.zeros(20 * RATE, dtype=np.float32)) == []
    assert session.buffered == 0
    session.push(np.zeros(20 * RATE, dtype=np.float32))
    assert session.buffered <= 2.5


def test_quiet_audio_is_not_shown_to_the_model():
    """A model that normalises what it hears would find words in it."""
    seen, model = [], LevelModel()
    hear = model.transcribe
    model.transcribe = lambda audio, *given, **more: seen.append(audio[0]) or hear(audio, *given, **more)
    hiss = np.random.default_rng(0).normal(0, 2e-4, 3 * RATE).astype(np.float32)
    audio = np.concatenate([hiss, speech([20, 30]), hiss, speech([40]), hiss])
    stream(StreamSession(model, "hi", polish="greedy"), audio)
    assert seen
    for waveform in seen:
        loud = np.flatnonzero(np.abs(waveform) > 0.01)
        assert loud[0] <= 0.1 * RATE
        assert len(waveform) - loud[-1] <= 0.1 * RATE


def test_a_segment_is_shown_from_its_first_sound_on():
    quiet = np.full(8000, 1e-4, dtype=np.float32)
    for lead, shown in ((0.0, WORD), (0.1, WORD + 1600)):
        model = LevelModel()
        options = StreamOptions(interval=2.0, lead=lead)
        stream(StreamSession(model, "hi", options=options), np.r_[quiet, speech([8], gap=0)])
        assert model.calls[-1][1] == shown


def test_a_stream_that_is_behind_hears_more_at_once():
    model = LevelModel()
    StreamSession(model, "hi").push(speech([1] * 20))
    assert len(model.calls) <= 6


def test_a_finished_segment_is_polished_with_the_hotwords():
    model = LevelModel()
    session = StreamSession(model, "hi", polish="greedy", hotwords=["w9"])
    *_, done = stream(session, speech([1, 2]))
    assert (done.text, done.heard) == ("W1 W2", "w1 w2")
    assert [call for call in model.calls if call[2]] == [("greedy", model.calls[-1][1], ("w9",))]


def test_a_polish_that_says_nothing_leaves_what_was_heard():
    model = LevelModel()
    model._words, hear = lambda levels: [], model._words
    session = StreamSession(model, "hi", polish="greedy")
    model._words = lambda levels: [] if model.calls[-1][0] == "greedy" else hear(levels)
    *_, done = stream(session, speech([1, 2]))
    assert done.text == "w1 w2"


def test_a_head_without_word_times_streams_too():
    events = stream(StreamSession(LevelModel(timed=False), "hi"), speech([1, 2, 3]))
    check_promises(events)
    assert events[-1].text == "w1 w2 w3"


def test_a_partial_result_may_be_left_out():
    session, model = StreamSession(LevelModel(), "hi"), LevelModel()
    steps, answer, events = session.steps(speech([1, 2, 3])), None, []
    while True:
        try:
            one = steps.send(answer)
        except StopIteration:
            break
        answer = None  # no time for it
        assert not one.final
    events = session.finish()
    assert events[-1].text == "w1 w2 w3"
    assert model.calls == []


def test_clear_forgets_what_was_said():
    session = StreamSession(LevelModel(), "hi")
    session.push(speech([1, 2, 3]))
    session.clear()
    *_, done = stream(session, speech([4]))
    assert done.text == "w4"
    assert done.start >= 1.2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused_and_the_stream_goes_on(value):
    session = StreamSession(LevelModel(), "hi")
    session.push(speech([1]))
    with pytest.raises(BadAudio, match="NaN or infinite"):
        session.push(np.array([0.0, value], dtype=np.float32))
    assert session.push(np.zeros(0, dtype=np.float32)) == []
    assert stream(session, speech([2]))[-1].text == "w1 w2"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"lang": "xx"}, "no xx"),
        ({"head": "greedy"}, "heard by ctc, rnnt, tdt"),
        ({"head": "rnnt"}, "no hi by rnnt"),
        ({"polish": "ctc"}, "search of the LLM"),
        ({"polish": "beam"}, "no hi by beam"),
        ({"hotwords": ["a"]}, "polish"),
    ],
)
def test_what_the_model_cannot_do_is_refused_at_once(given, told):
    with pytest.raises(ValueError, match=told):
        StreamSession(LevelModel(), **{"lang": "hi", **given})


@pytest.mark.parametrize(
    "given",
    [
        {"interval": 0.0},
        {"cap": float("nan")},
        {"agreement": 1},
        {"margin": -1.0},
        {"min_pause": 2.0},
        {"cap": 3.0},
        {"catch_up": 0.1},
    ],
)
def test_bad_options_are_refused(given):
    with pytest.raises(ValueError, match=f"`{next(iter(given))}` must be"):
        StreamOptions(**given)


def test_a_real_model_streams_and_its_llm_polishes(speech_llm, tmp_path):
    model = LLMModel(speech_llm, tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    events = stream(StreamSession(model, "hi", "rnnt" if "rnnt" in model.decodes else "ctc", "greedy"), noise)
    check_promises(events)
    done = [event for event in events if isinstance(event, Done)]
    assert done
    assert all(event.text for event in done)
