"""One stream: audio comes in pieces of any size, events go out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maya_bridge.streaming.activity import Activity
from maya_bridge.streaming.endings import Ending, ending
from maya_bridge.streaming.events import Done, Event, Listen, Steps
from maya_bridge.streaming.options import SAMPLING_RATE, StreamOptions
from maya_bridge.streaming.segment_text import SegmentText, joined, later, words_of
from maya_encoder.audio import Waveform, load_audio
from maya_encoder.hypothesis import Hypothesis

if TYPE_CHECKING:
    from maya_bridge.any_model import AnyModel

HEADS = ("ctc", "rnnt", "tdt")
LEAST = 0.1
"""Seconds; a shorter end of a stream is not heard on its own."""


class StreamSession:
    """Partial text of a stream of any length, in bounded memory and with bounded work for each step.

    Args:
        model: what transcribes.
        lang: language of the stream.
        head: `ctc`, `rnnt` or `tdt`, which hears the open segment again and again.
        polish: way of decoding that writes each finished segment: greedy, speculative or beam; None to leave
            it as the head heard it.
        hotwords: names and terms that the polish may expect.
        options: steps and segments.

    Raises:
        ValueError: what the model cannot do; one sentence.
    """

    def __init__(
        self,
        model: "AnyModel",
        lang: str,
        head: str = "ctc",
        polish: str | None = None,
        hotwords: Sequence[str] = (),
        options: StreamOptions | None = None,
    ) -> None:
        check(model, lang, head, polish, hotwords)
        self.model, self.lang, self.head, self.polish = model, lang, head, polish
        self.hotwords = tuple(hotwords)
        self.options = options or StreamOptions()
        self._waiting: Waveform = np.zeros(0, dtype=np.float32)  # not heard yet
        self._open: Waveform = self._waiting  # of the open segment
        self._begin = 0  # sample of the stream at which the open segment begins
        self._heard = 0  # samples of the open segment that its text comes from
        self._activity = Activity()
        self._text = SegmentText(0, self.options.agreement)

    @property
    def buffered(self) -> float:
        """Seconds of audio in memory."""
        return (len(self._waiting) + len(self._open)) / SAMPLING_RATE

    @property
    def seconds(self) -> float:
        """Seconds of audio since the stream began."""
        return self._begin / SAMPLING_RATE + self.buffered

    @property
    def segment(self) -> int:
        """Number of the open segment."""
        return self._text.number

    def push(self, samples: npt.NDArray[np.floating] | npt.NDArray[np.int16]) -> list[Event]:
        """Take samples (S,) of 16 kHz, floating in [-1, 1] or int16; return what they made known.

        Raises:
            BadAudio: samples that are no finite numbers, or no audio; the stream goes on without them.
        """
        return self._run(self.steps(samples))

    def finish(self) -> list[Event]:
        """End the open segment; what is pushed later begins a new one."""
        return self._run(self.last_steps())

    def clear(self) -> None:
        """Forget the open segment and what was not heard yet."""
        self._begin += len(self._waiting)
        self._waiting = self._waiting[:0].copy()
        self._next_segment(len(self._open))

    def go_on_after(self, before: "StreamSession") -> None:
        """Count seconds and segments on from a finished session, whose stream goes on with other settings."""
        self._begin = round(before.seconds * SAMPLING_RATE)
        self._text.number = before.segment

    def steps(self, samples: npt.NDArray[np.floating] | npt.NDArray[np.int16]) -> Steps:
        """The same as `push` for a caller that does the listening: it answers every `Listen` by `send`."""
        if len(samples):
            self._waiting = np.concatenate([self._waiting, load_audio(samples, SAMPLING_RATE)])
        return self._hear_waiting(_samples(self.options.interval))

    def last_steps(self) -> Steps:
        """The same as `finish` for a caller that does the listening."""
        yield from self._hear_waiting(_samples(LEAST))
        self._open = np.concatenate([self._open, self._waiting])
        self._waiting = self._waiting[:0].copy()
        segment = None
        while len(self._open) and segment != self.segment:  # a segment may end before the audio does
            segment = self.segment
            yield from self._listen(needed=True)
        yield from self._close(Ending(len(self._open), len(self._text.words)))

    def _run(self, steps: Steps) -> list[Event]:
        events: list[Event] = []
        answer: Hypothesis | None = None
        try:
            while True:
                one = steps.send(answer)
                answer = None
                if isinstance(one, Listen):
                    answer = self._transcribe(one)
                else:
                    events.append(one)
        except StopIteration:
            return events

    def _transcribe(self, ask: Listen) -> Hypothesis:
        (found,) = self.model.transcribe(
            [ask.waveform], ask.lang, decode=ask.decode, hotwords=ask.hotwords, words=True
        )
        return found

    def _hear_waiting(self, least: int) -> Steps:
        """Hear what is waiting: an interval at a time, or more where the stream is behind."""
        interval, most = _samples(self.options.interval), _samples(self.options.catch_up)
        while len(self._waiting) >= least:
            size = most if len(self._waiting) >= 2 * interval else interval
            size = min(size, _samples(self.options.cap) - len(self._open))
            self._open = np.concatenate([self._open, self._waiting[:size]])
            self._waiting = self._waiting[size:].copy()  # not a view, which would keep all of it
            yield from self._listen()

    def _listen(self, needed: bool = False) -> Steps:
        """Hear the open segment, tell what is new, and end it where it has an end."""
        options = self.options
        needed = needed or len(self._open) >= _samples(options.cap)
        speech_end = self._drop_quiet_beginning()
        audible = min(speech_end + _samples(options.pad), len(self._open))
        if speech_end and audible > self._heard:
            answer = yield Listen(self._open[:audible], self.lang, self.head, final=needed)
            if answer is None:
                return
            self._heard = audible
            self._text.hear(words_of(answer))
        if (end := self._ending(speech_end)) is not None:
            yield from self._close(end)
            return
        length = len(self._open) / SAMPLING_RATE
        self._text.settle(min(length - options.margin, options.cap - options.hold))
        yield from self._tell()
        if not self._text.words and length >= 2 * options.silence:
            self._drop(len(self._open) - _samples(options.silence))

    def _drop_quiet_beginning(self) -> int:
        """Return the sample of the open segment at which speech ends, 0 without any."""
        begin, end = self._activity.speech(self._open)
        if self._text.words:
            return end if begin < end else self._heard
        lead = max(begin - _samples(self.options.lead), 0)
        self._drop(lead)
        return end - lead if begin < end else 0

    def _ending(self, speech_end: int) -> Ending | None:
        words = self._text.words
        length = len(self._open) / SAMPLING_RATE
        if words and length - speech_end / SAMPLING_RATE >= self.options.needed_pause(length):
            return Ending(self._heard, len(words))
        end = ending(self._open, words, self._text.num_stable, self.options)
        if end is None or end.num_words < len(words):
            return end
        return Ending(min(end.sample, self._heard), end.num_words)  # a quiet end is nobody's

    def _tell(self) -> Steps:
        begin = self._begin / SAMPLING_RATE
        if (delta := self._text.delta(begin, begin + self._heard / SAMPLING_RATE)) is not None:
            yield delta

    def _close(self, end: Ending) -> Steps:
        """End the open segment, with its last words; the audio behind it opens the next one."""
        self._text.end_after(end.num_words)
        yield from self._tell()
        if words := self._text.words:
            text = heard = joined(words)
            if self.polish is not None:
                audio = self._open[: min(end.sample, self._heard)]
                answer = yield Listen(audio, self.lang, self.polish, self.hotwords, final=True)
                if answer is not None and answer.text:
                    text, words = answer.text, words_of(answer)
            begin = self._begin / SAMPLING_RATE
            last = round(begin + end.sample / SAMPLING_RATE, 3)
            yield Done(self.segment, text, heard, round(begin, 3), last, later(words, begin))
        self._next_segment(end.sample)

    def _next_segment(self, samples: int) -> None:
        self._drop(samples)
        self._text = SegmentText(self.segment + bool(self._text.words), self.options.agreement)

    def _drop(self, samples: int) -> None:
        """Let go of the first samples of the open segment."""
        self._begin += samples
        self._open = self._open[samples:].copy()
        self._heard = 0 if samples else self._heard


def check(model: "AnyModel", lang: str, head: str, polish: str | None, hotwords: Sequence[str] = ()) -> None:
    """Refuse a stream that a model cannot serve.

    Raises:
        ValueError: one sentence.
    """
    if head not in HEADS:
        raise ValueError(f"a stream is heard by {', '.join(HEADS)}, got {head!r}")
    if polish in HEADS:
        raise ValueError(f"`polish` must be a search of the LLM, got the head {polish!r}")
    if hotwords and polish is None:
        raise ValueError("hotwords go to the polish of finished segments, and none is asked for")
    model.check(lang, head)
    if polish is not None:
        model.check(lang, polish, hotwords)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLING_RATE)
