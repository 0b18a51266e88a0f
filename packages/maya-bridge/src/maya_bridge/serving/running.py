"""A server that loads its model, listens, and on a signal answers what it accepted before it ends."""

import argparse
import asyncio
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI

from maya_bridge.serving.app import create_app
from maya_bridge.serving.settings import ServeSettings

if TYPE_CHECKING:
    import socket

    from maya_bridge.serving.service import Service

POLL = 0.05


class DrainingServer(uvicorn.Server):
    """Refuses new requests with 503 from the first signal on; stops when the accepted ones are answered."""

    def __init__(self, config: uvicorn.Config, service: "Service") -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second interrupt stops at once."""
        self.service.closing = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Wait for accepted requests, at most as long as one may take, then stop listening."""
        self.service.closing = True
        end = time.monotonic() + self.service.settings.timeout
        while self.service.active and not self.force_exit and time.monotonic() < end:
            await asyncio.sleep(POLL)
        await super().shutdown(sockets)
        self._captured_signals.clear()  # else it raises them again, as if it had failed


def make_server(app: FastAPI, settings: ServeSettings, **where: Any) -> DrainingServer:
    """Return a server of an application of `create_app`; `where` is host, port and the like of uvicorn."""
    config = uvicorn.Config(
        app,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=30,
        ws_max_size=2**20,
        # Compressed frames are unpacked before anybody can say stop: a little data becomes a lot of audio.
        ws_per_message_deflate=False,
        server_header=False,
        **where,
    )
    return DrainingServer(config, app.state.service)


async def serve(args: argparse.Namespace, settings: ServeSettings) -> None:
    """Load the model and serve it until a signal ends it."""
    import torch

    from maya_bridge.any_model import open_model

    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"loading {args.model}", flush=True)
    model = open_model(args.model, args.device, args.int8)
    if model.saving is not None:
        print(model.saving, flush=True)
    app = create_app(model, settings)
    await make_server(app, settings, host=args.host, port=args.port).serve()
