"""`/v1/audio/stream`: live transcription over a WebSocket."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, WebSocket

from maya_bridge.serving.errors import ApiError
from maya_bridge.serving.keys import check_key
from maya_bridge.serving.service import Service
from maya_bridge.serving.settings import ServeSettings
from maya_bridge.serving.stream_connection import StreamConnection
from maya_bridge.serving.stream_messages import FIELDS, StreamRequest, requested
from maya_bridge.serving.stream_settings import StreamSettings
from maya_bridge.streaming.options import StreamOptions

if TYPE_CHECKING:
    from maya_bridge.any_model import AnyModel

PATH = "/v1/audio/stream"
PROTOCOL = "realtime"
KEY_PROTOCOL = "openai-insecure-api-key."
"""Browsers cannot send headers with a WebSocket; OpenAI's clients there offer the key as a subprotocol."""


def add_stream_route(
    app: FastAPI,
    model: "AnyModel",
    settings: ServeSettings,
    limits: StreamSettings | None = None,
    options: StreamOptions | None = None,
) -> None:
    """Add the route to an application of `create_app`.

    Args:
        app: its `state.service` runs the model, in one thread for all routes.
        model: the service's.
        settings: of the server; streams want the same API key as requests.
        limits: of streams.
        options: steps and segments of streams.
    """
    doorkeeper = _Doorkeeper(app.state.service, settings, limits or StreamSettings())
    options = options or StreamOptions()

    @app.websocket(PATH)
    async def stream(websocket: WebSocket) -> None:
        try:
            with doorkeeper.admitted(websocket):
                request = _request(websocket)
                offered = PROTOCOL in _protocols(websocket)
                await websocket.accept(subprotocol=PROTOCOL if offered else None)
                connection = StreamConnection(websocket, app.state.service, doorkeeper.limits, options)
                await connection.serve(request)
        except ApiError as error:
            await websocket.send_denial_response(error.response())


class _Doorkeeper:
    """Lets clients in who have the key, while there is room."""

    def __init__(self, service: Service, settings: ServeSettings, limits: StreamSettings) -> None:
        self.limits = limits
        self.streams = 0
        self._service = service
        self._key = settings.api_key

    @contextmanager
    def admitted(self, websocket: WebSocket) -> Iterator[None]:
        """Hold a place for the length of the block; the server waits for it when it stops."""
        check_key(_headers(websocket), self._key)
        if self.streams >= self.limits.max_streams:
            message = f"the server has {self.streams} streams, and takes no more"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after=5)
        with self._service.admitted():
            self.streams += 1
            try:
                yield
            finally:
                self.streams -= 1


def _protocols(websocket: WebSocket) -> list[str]:
    return [one.strip() for one in websocket.headers.get("sec-websocket-protocol", "").split(",")]


def _headers(websocket: WebSocket) -> dict[str, str]:
    found = dict(websocket.headers)
    for one in _protocols(websocket):
        if one.startswith(KEY_PROTOCOL):
            found.setdefault("authorization", f"Bearer {one.removeprefix(KEY_PROTOCOL)}")
    return found


def _request(websocket: WebSocket) -> StreamRequest:
    """What the query string asks for."""
    query = websocket.query_params
    return requested(StreamRequest(), {key: query[key][:4096] for key in FIELDS if query.get(key)})
