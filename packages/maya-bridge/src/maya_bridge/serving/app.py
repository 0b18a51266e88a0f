"""The server's application: routes around one model."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maya_bridge.serving.errors import ApiError, add_error_handlers
from maya_bridge.serving.keys import check_key
from maya_bridge.serving.page import add_page
from maya_bridge.serving.service import Service
from maya_bridge.serving.settings import ServeSettings
from maya_bridge.serving.stream_route import add_stream_route
from maya_bridge.serving.transcriptions import add_transcriptions_route

if TYPE_CHECKING:
    from maya_bridge.any_model import AnyModel

ROUTES = ("/v1/audio/transcriptions", "/v1/models", "/health", "/metrics")
"""Those that are counted by name."""


def create_app(model: "AnyModel", settings: ServeSettings | None = None) -> FastAPI:
    """Return the application that serves a model.

    Args:
        model: of `open_model`; nothing else may run it meanwhile.
        settings: limits.
    """
    settings = settings or ServeSettings()
    service = Service(model, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        await service.batcher.stop()

    app = FastAPI(title="Maya ASR", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    add_error_handlers(app)
    app.add_middleware(Counting, service=service)
    add_transcriptions_route(app, service)
    _add_model_routes(app, service)
    _add_state_routes(app, service)
    add_stream_route(app, model, settings)
    _add_unknown_routes(app)
    add_page(app, service)
    return app


class Counting:
    """Counts every answer by route and status."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.requests = service.metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path, status = scope["path"], 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            route = next((one for one in ROUTES if path == one or path.startswith(f"{one}/")), "other")
            self.requests.labels(route, status).inc()


def _add_model_routes(app: FastAPI, service: Service) -> None:
    settings, since = service.settings, int(time.time())
    card = {"id": settings.model_name, "object": "model", "created": since, "owned_by": "maya"}

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        check_key(request.headers, settings.api_key)
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str, request: Request) -> dict[str, Any]:
        check_key(request.headers, settings.api_key)
        if name != settings.model_name:
            message = f"this server's model is {settings.model_name}, got {name[:80]!r}"
            raise ApiError(404, message, code="model_not_found", param="model")
        return card


def _add_unknown_routes(app: FastAPI) -> None:
    @app.api_route("/v1/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def unknown(rest: str, request: Request) -> None:
        if f"/v1/{rest}" in ROUTES:
            raise ApiError(405, f"/v1/{rest} takes no {request.method}", code="method_not_allowed")
        raise ApiError(404, f"there is no /v1/{rest[:80]}; there are {', '.join(ROUTES)}", code="unknown_url")


def _add_state_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> JSONResponse:
        state = "shutting down" if service.closing else "ok"
        told = {"status": state, "model": service.settings.model_name, "requests": service.active}
        return JSONResponse(told, 503 if service.closing else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)
