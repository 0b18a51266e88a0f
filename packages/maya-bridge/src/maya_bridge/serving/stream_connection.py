"""One client of a stream: a reader that fills a bounded inbox, and a writer that works on it."""

import asyncio
import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from maya_bridge.serving.batcher import Job, Key
from maya_bridge.serving.errors import ApiError
from maya_bridge.serving.service import Service
from maya_bridge.serving.stream_inbox import Inbox
from maya_bridge.serving.stream_messages import (
    Command,
    StreamRequest,
    bad,
    error_shown,
    event_id_of,
    read_message,
    requested,
    shown,
)
from maya_bridge.serving.stream_settings import StreamSettings
from maya_bridge.sound_blocks import Resampler
from maya_bridge.streaming import Done, Listen, StreamOptions, StreamSession
from maya_bridge.streaming.events import Steps
from maya_bridge.streaming.options import SAMPLING_RATE
from maya_bridge.streaming.session import HEADS
from maya_encoder.hypothesis import Hypothesis

log = logging.getLogger(__name__)

NORMAL, GOING_AWAY, REFUSED, FAILED = 1000, 1001, 1008, 1011
"""Codes with which a stream is closed."""
POLISH = ("speculative", "greedy")
"""What writes finished segments unless something else is asked for: the first that the model can."""
NO_POLISH = "none"
POLL = 0.25
"""Seconds between two looks at whether the server stops."""


class Ended(Exception):
    """The server ends a stream.

    Args:
        code: of the close frame.
        error: what the client is told before.
    """

    def __init__(self, code: int, error: ApiError | None = None) -> None:
        super().__init__(code)
        self.code, self.error = code, error


class StreamConnection:
    """Serves one accepted WebSocket until either side ends it; leaves nothing behind.

    Args:
        websocket: accepted.
        service: the model with its queue.
        settings: limits.
        options: steps and segments.
    """

    def __init__(
        self, websocket: WebSocket, service: Service, settings: StreamSettings, options: StreamOptions
    ) -> None:
        self._websocket = websocket
        self._service = service
        self._settings = settings
        self._options = options
        self._id = f"sess_{uuid.uuid4().hex}"
        self._inbox = Inbox(settings.max_buffered)
        self._request = StreamRequest()
        self._session: StreamSession | None = None
        self._errors = 0
        self._received = 0.0  # seconds
        self._resampler = Resampler(SAMPLING_RATE)

    async def serve(self, request: StreamRequest) -> None:
        """Serve the client; `request` is what it asked for when it connected."""
        try:
            await self._begin(request)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._work())
        except* WebSocketDisconnect:
            pass
        except* Ended as group:
            (ended, *_) = group.exceptions
            assert isinstance(ended, Ended)
            await self._close(ended)
        except* Exception:
            log.exception("a stream failed")
            failed = ApiError(500, "the server failed on this stream", code="internal_error")
            await self._close(Ended(FAILED, failed))
        finally:
            self._session = None
            self._service.metrics.audio_seconds.inc(self._received)

    async def _close(self, ended: Ended) -> None:
        try:
            if ended.error is not None:
                await self._send(error_shown(ended.error))
            await self._websocket.close(ended.code)
        except (WebSocketDisconnect, RuntimeError, Ended):  # the client was faster
            return

    async def _begin(self, request: StreamRequest) -> None:
        try:
            self._use(request)
        except ApiError as error:
            raise Ended(REFUSED, error) from None
        await self._send({"type": "session.created", "session": self._described()})

    def _use(self, request: StreamRequest, needed: bool = False) -> None:
        """Take settings; without a language they wait for one, unless they are needed."""
        model = self._service.model
        language = request.language or (model.langs[0] if len(model.langs) == 1 else None)
        if language is not None:
            head = request.decode or next((head for head in HEADS if head in model.decodes), HEADS[0])
            polish = request.polish or next((one for one in POLISH if one in model.decodes), None)
            polish = None if polish == NO_POLISH else polish
            try:
                self._session = StreamSession(model, language, head, polish, request.hotwords, self._options)
            except ValueError as error:
                raise bad(str(error)) from None
        elif needed:
            known = ", ".join(model.langs)
            raise bad(f"`language` must be given, one of {known}", "missing_language", "language")
        if request.sampling_rate != self._request.sampling_rate:
            self._resampler = Resampler(request.sampling_rate)
        self._request = request

    def _described(self) -> dict[str, Any]:
        """The settings of the stream, as its client sees them."""
        told: dict[str, Any] = {"id": self._id, "object": "realtime.session", "type": "transcription"}
        told |= {"model": self._service.settings.model_name, "input_audio_format": "pcm16"}
        told |= {"sampling_rate": self._request.sampling_rate, "language": None}
        if (session := self._session) is not None:
            told |= {"language": session.lang, "decode": session.head, "polish": session.polish}
            told |= {"prompt": ", ".join(session.hotwords)}
        return told

    async def _read(self) -> None:
        """Receive until the client goes; a full inbox holds it up, and the network the client."""
        while True:
            message = await self._received_message()
            try:
                command = read_message(message, self._settings.max_frame_bytes)
            except ApiError as error:
                await self._refuse(error, event_id_of(message))
                continue
            await self._inbox.put(command)
            if command.kind == "close":
                return

    async def _received_message(self) -> Mapping[str, Any]:
        waited = 0.0
        receiving = asyncio.ensure_future(self._websocket.receive())
        try:
            while not (await asyncio.wait([receiving], timeout=POLL))[0]:
                waited += POLL
                if self._service.closing:
                    return {"text": '{"type": "session.close"}'}
                if waited >= self._settings.idle_timeout:
                    seconds = f"{self._settings.idle_timeout:g}"
                    told = ApiError(408, f"nothing came for {seconds} s", code="idle_timeout")
                    raise Ended(REFUSED, told)
        finally:
            receiving.cancel()
        message = receiving.result()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return message

    def _count(self, command: Command) -> None:
        self._received += len(command.samples) / self._request.sampling_rate
        if self._received > self._settings.max_seconds:
            seconds = f"{self._settings.max_seconds:g}"
            raise Ended(
                REFUSED, ApiError(413, f"a stream has at most {seconds} s of audio", code="audio_too_long")
            )

    async def _refuse(self, error: ApiError, event_id: str | None = None) -> None:
        """Tell of a message that was refused; after too many of them the stream ends."""
        self._errors += 1
        if self._errors >= self._settings.max_errors:
            raise Ended(REFUSED, error)
        await self._send(error_shown(error, event_id))

    async def _work(self) -> None:
        do = {
            "append": self._append,
            "commit": self._commit,
            "clear": self._clear,
            "update": self._update,
            "close": self._finish,
        }
        while True:
            command = await self._inbox.get()
            try:
                await do[command.kind](command)
            except ApiError as error:
                await self._refuse(error)

    def _ready(self) -> StreamSession:
        if self._session is None:
            self._use(self._request, needed=True)
        assert self._session is not None
        return self._session

    async def _append(self, command: Command) -> None:
        session = self._ready()
        self._count(command)
        await self._go(session, session.steps(self._resampler.push(command.samples)))

    async def _end(self, session: StreamSession) -> int:
        """End the open segment; return how many segments ended."""
        ended = await self._go(session, session.steps(self._resampler.rest()))
        return ended + await self._go(session, session.last_steps())

    async def _commit(self, command: Command) -> None:
        """End the open segment; it gets its `done` even where nothing was said."""
        session = self._ready()
        item = f"{self._id}_{session.segment}"
        await self._send({"type": "input_audio_buffer.committed", "item_id": item})
        if not await self._end(session):
            at = round(session.seconds, 3)
            await self._tell(session, Done(session.segment, "", "", at, at))

    async def _clear(self, command: Command) -> None:
        self._resampler.rest()
        if self._session is not None:
            self._session.clear()
        await self._send({"type": "input_audio_buffer.cleared"})

    async def _update(self, command: Command) -> None:
        request = requested(self._request, command.changes)
        if (before := self._session) is not None and before.seconds:
            await self._end(before)
        self._use(request)
        if self._session is not None and before is not None:
            self._session.go_on_after(before)
        await self._send({"type": "session.updated", "session": self._described()})

    async def _finish(self, command: Command) -> None:
        if self._session is not None:
            await self._end(self._session)
        await self._send({"type": "session.closed"})
        raise Ended(GOING_AWAY if self._service.closing else NORMAL)

    async def _go(self, session: StreamSession, steps: Steps) -> int:
        """Take the steps of a stream; return how many segments ended."""
        answer: Hypothesis | None = None
        ended = 0
        while True:
            try:
                one = steps.send(answer)
            except StopIteration:
                return ended
            answer = None
            if isinstance(one, Listen):
                answer = await self._heard(one)
            else:
                ended += isinstance(one, Done)
                await self._tell(session, one)

    async def _heard(self, ask: Listen) -> Hypothesis | None:
        """The text of some audio, by the thread that runs the model; None where partial text must wait."""
        batcher = self._service.batcher
        if not ask.final and batcher.wait_seconds() > self._settings.busy:
            return None
        future: asyncio.Future[list[Hypothesis]] = asyncio.get_running_loop().create_future()
        (found,) = await batcher.decode(
            Job([ask.waveform], ask.lang, Key(ask.decode, ask.hotwords, True), future)
        )
        return found

    async def _tell(self, session: StreamSession, event: Any) -> None:
        await self._send(shown(event, self._id, session.lang))

    async def _send(self, event: dict[str, Any]) -> None:
        told = json.dumps({"event_id": f"event_{uuid.uuid4().hex[:16]}", **event}, ensure_ascii=False)
        try:
            async with asyncio.timeout(self._settings.idle_timeout):
                await self._websocket.send_text(told)
        except TimeoutError:
            raise Ended(REFUSED) from None
