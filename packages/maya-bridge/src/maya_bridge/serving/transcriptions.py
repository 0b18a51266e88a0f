"""`POST /v1/audio/transcriptions`, as OpenAI's clients call it."""

import asyncio
import re
from collections.abc import Coroutine

from fastapi import FastAPI, Request
from fastapi.responses import Response

from maya_bridge.serving.errors import ApiError
from maya_bridge.serving.keys import check_key
from maya_bridge.serving.metrics import Stages
from maya_bridge.serving.responses import FORMATS, GRANULARITIES, TIMED, events, response
from maya_bridge.serving.service import Order, Service, Transcript
from maya_bridge.serving.uploads import Form, receive_form

MOST_HOTWORDS = 100
LONGEST_HOTWORD = 100
"""Characters."""


def add_transcriptions_route(app: FastAPI, service: Service) -> None:
    """Give an app the route."""

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(request: Request) -> Response:
        return await _answer(request, service)


async def _answer(request: Request, service: Service) -> Response:
    settings = service.settings
    check_key(request.headers, settings.api_key)
    with service.admitted(), Stages(service.metrics).over() as stages:
        stages.enter("receive")
        form = await receive_form(request, settings.max_upload_bytes, settings.timeout)
        try:
            shape, granularities = _shape(form)
            streamed = _is_streamed(form, shape)
            order = _order(form, service, words=shape in TIMED)
            work = service.transcribe(form.file(), order, stages)
            transcript = await while_connected(request, work)
        finally:
            await form.data.close()
        stages.enter("write")
        if streamed:
            return events(transcript)
        return response(transcript, shape, granularities)


async def while_connected(request: Request, work: Coroutine[None, None, Transcript]) -> Transcript:
    """Return what `work` returns; give it up when the client goes away."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ApiError(499, "the client went away", code="client_closed_request")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _shape(form: Form) -> tuple[str, list[str]]:
    """The response's format, and what of its times verbose_json shows."""
    shape = form.text("response_format", "json")
    if shape not in FORMATS:
        raise _wrong("response_format", f"must be one of {', '.join(FORMATS)}, got {shape[:40]!r}")
    granularities = form.texts("timestamp_granularities")
    for one in granularities:
        if one not in GRANULARITIES:
            raise _wrong(
                "timestamp_granularities", f"must be of {', '.join(GRANULARITIES)}, got {one[:40]!r}"
            )
    if granularities and shape != "verbose_json":
        raise _wrong("timestamp_granularities", f"are for `response_format` verbose_json, got {shape}")
    return shape, granularities or ["segment"]


def _is_streamed(form: Form, shape: str) -> bool:
    """Whether the answer is told as events, which have a text and nothing else."""
    if form.text("stream").lower() not in ("true", "1"):
        return False
    if shape not in ("json", "text"):
        raise _wrong("stream", f"is for `response_format` json or text, got {shape}")
    return True


def _order(form: Form, service: Service, words: bool) -> Order:
    hotwords = tuple(hotwords_of(form.text("prompt"), form.texts("keywords")))
    lang = form.text("language").lower()
    return service.order(lang, form.text("decode") or None, hotwords, words)


def hotwords_of(prompt: str, keywords: list[str]) -> list[str]:
    """Return the names and terms of a prompt, which stand between commas, semicolons or line ends.

    Raises:
        ApiError: 400 for too many of them, or one that is too long.
    """
    parts = [*re.split(r"[,;\n\r]", prompt), *keywords]
    found = list(dict.fromkeys(" ".join(part.split()) for part in parts if part.strip()))
    if len(found) > MOST_HOTWORDS:
        raise _wrong("prompt", f"may name {MOST_HOTWORDS} words, got {len(found)}")
    for word in found:
        if len(word) > LONGEST_HOTWORD:
            reason = f"holds words between commas, of {LONGEST_HOTWORD} characters at most, got {len(word)}"
            raise _wrong("prompt", reason)
    return found


def _wrong(name: str, reason: str) -> ApiError:
    return ApiError(400, f"`{name}` {reason}", code="invalid_value", param=name)
