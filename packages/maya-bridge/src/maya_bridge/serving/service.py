"""From an upload to a transcript: what the API, the page and streams share."""

import asyncio
import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from maya_bridge.decoding.long_audio import cut_points
from maya_bridge.serving.audio_bytes import TooLong, read_audio
from maya_bridge.serving.batcher import AUTO, Batcher, Job, Key
from maya_bridge.serving.errors import ApiError
from maya_bridge.serving.metrics import Metrics, Stages
from maya_bridge.serving.settings import ServeSettings
from maya_bridge.sound_blocks import RATE
from maya_encoder.audio import BadAudio, Waveform
from maya_encoder.hypothesis import Hypothesis, Word

if TYPE_CHECKING:
    from maya_bridge.any_model import AnyModel

READERS = 2
"""Uploads that are unpacked at a time; each may hold as much as the longest audio."""


@dataclass(frozen=True)
class Order:
    """What a client wants."""

    lang: str
    decode: str | None = None
    hotwords: tuple[str, ...] = ()
    words: bool = False
    """Whether the words' times are wanted."""


@dataclass(frozen=True)
class Transcript:
    """The pieces of a request's audio in order, and what was written for each."""

    lang: str
    duration: float
    """Seconds of audio."""
    pieces: list[tuple[float, Hypothesis]] = field(default_factory=list)
    """Each with the second at which it begins."""

    @property
    def text(self) -> str:
        """All that is said."""
        return " ".join(one.text for _, one in self.pieces if one.text)

    @property
    def words(self) -> list[Word]:
        """All words, by the time of the whole audio."""
        return [later(word, start) for start, one in self.pieces for word in one.words]


def later(word: Word, seconds: float) -> Word:
    """Return a word of a piece that begins at `seconds`."""
    return replace(word, start=word.start + seconds, end=word.end + seconds)


class Service:
    """A model with its queue, limits and counters.

    Args:
        model: a loaded model.
        settings: limits.
    """

    def __init__(self, model: "AnyModel", settings: ServeSettings) -> None:
        self.model = model
        self.settings = settings
        self.metrics = Metrics()
        self.closing = False
        """Whether new requests are refused because the server stops."""
        self.active = 0
        """Requests accepted and not answered."""
        self.batcher = Batcher(model, settings, self.metrics, lambda: self.active)
        self._held = 0  # samples
        self._readers = asyncio.Semaphore(READERS)
        self._can = functools.lru_cache(256)(self._check)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Let a request in for the length of the block, where there is room.

        Raises:
            ApiError: 429 where the server is full, 503 where it stops.
        """
        if self.closing:
            raise ApiError(503, "the server is shutting down", code="shutting_down", retry_after=5)
        if self.active >= self.settings.max_requests:
            raise self._full(f"the server has {self.active} requests to answer, and takes no more")
        self.active += 1
        self.metrics.in_flight.set(self.active)
        try:
            yield
        finally:
            self.active -= 1
            self.metrics.in_flight.set(self.active)

    def order(
        self, lang: str, decode: str | None = None, hotwords: tuple[str, ...] = (), words: bool = False
    ) -> Order:
        """Return a checked order; without a language it is the model's only one, or `auto`.

        Raises:
            ApiError: 400 for what the model cannot do.
        """
        if not lang:
            lang = self.model.langs[0] if len(self.model.langs) == 1 else AUTO
        asked = Order(lang, decode, hotwords)
        refused = self._can(asked)
        if refused and lang == AUTO and self._can(Order(AUTO)):
            refused = (
                f"`language` must be given, this model cannot tell it; one of {', '.join(self.model.langs)}"
            )
        if refused:
            raise ApiError(400, refused, code="invalid_value", param=self._culprit(asked))
        return replace(asked, words=words)

    def _check(self, order: Order) -> str | None:
        try:
            self.model.check(order.lang, order.decode, order.hotwords)
        except ValueError as error:
            return str(error)
        return None

    def _culprit(self, order: Order) -> str:
        """The field of the request that the model refuses."""
        if order.decode is not None and order.decode not in self.model.decodes:
            return "decode"
        return "prompt" if order.hotwords and not self._can(Order(order.lang, order.decode)) else "language"

    async def transcribe(self, file: BinaryIO, order: Order, stages: Stages) -> Transcript:
        """Read an upload and write down what is said.

        Raises:
            ApiError: 400 for bad audio, 413 for too much, 429 where the queue is full, 504 out of time.
        """
        try:
            async with asyncio.timeout(self.settings.timeout):
                stages.enter("read")
                waveform = await self._read(file)
                with self._holding(len(waveform)):
                    stages.enter("wait")
                    return await self._decode(waveform, order, stages)
        except TimeoutError:
            message = f"the audio was not transcribed within {self.settings.timeout:g} s"
            raise ApiError(504, message, code="timeout") from None
        except TooLong as error:
            raise ApiError(413, str(error), code="audio_too_long", param="file") from None
        except BadAudio as error:
            raise ApiError(400, str(error), code="invalid_audio", param="file") from None

    async def _read(self, file: BinaryIO) -> Waveform:
        deadline = time.monotonic() + self.settings.timeout
        async with self._readers:
            work = asyncio.to_thread(read_audio, file, self.settings.max_seconds, deadline)
            reading = asyncio.ensure_future(work)
            try:
                return await asyncio.shield(reading)
            except asyncio.CancelledError:
                await asyncio.wait([reading])  # the file must not be closed under the thread that reads it
                raise

    async def _decode(self, waveform: Waveform, order: Order, stages: Stages) -> Transcript:
        ends = cut_points(waveform, RATE) if len(waveform) > 30 * RATE else [(0, len(waveform))]
        future: asyncio.Future[list[Hypothesis]] = asyncio.get_running_loop().create_future()
        pieces = [waveform[start:end] for start, end in ends]
        key = Key(order.decode, order.hotwords, order.words)
        job = Job(pieces, order.lang, key, future, lambda: stages.enter("decode"))
        hypotheses = await self.batcher.decode(job)
        stages.enter(None)
        self.metrics.audio_seconds.inc(len(waveform) / RATE)
        starts = [start / RATE for start, _ in ends]
        lang = job.lang if job.lang != AUTO else hypotheses[0].lang or ""
        return Transcript(lang, len(waveform) / RATE, list(zip(starts, hypotheses, strict=True)))

    @contextmanager
    def _holding(self, samples: int) -> Iterator[None]:
        """Hold audio in memory for the length of the block, where there is room."""
        if self._held and self._held + samples > self.settings.max_waiting_seconds * RATE:
            raise self._full(f"the server holds {self._held / RATE:.0f} s of audio, and has no room for more")
        self._held += samples
        self.metrics.queue_seconds.set(self._held / RATE)
        try:
            yield
        finally:
            self._held -= samples
            self.metrics.queue_seconds.set(self._held / RATE)

    def _full(self, message: str) -> ApiError:
        wait = min(max(self.batcher.wait_seconds(), 1), 60)
        return ApiError(429, message, code="rate_limit_exceeded", retry_after=wait)
