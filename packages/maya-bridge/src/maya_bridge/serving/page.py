"""The page at `/`: a microphone and uploads for people, with Gradio; without it, a line that says so."""

import asyncio
import io
import logging
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from maya_bridge.serving.batcher import AUTO
from maya_bridge.serving.errors import ApiError
from maya_bridge.serving.keys import is_key
from maya_bridge.serving.metrics import Stages
from maya_bridge.serving.page_text import error_html, languages, plain_page, timings_html, words_html
from maya_bridge.serving.page_uploads import PageUploads
from maya_bridge.serving.service import Service, Transcript
from maya_bridge.serving.transcriptions import hotwords_of

log = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between two looks at the running stage."""
FONTS = ("system-ui", "Noto Sans", "Nirmala UI", "sans-serif")
"""Of the reader's system: the page asks no other host for anything."""
DECODES = {
    "greedy": "LLM, greedy",
    "speculative": "LLM, speculative (same text, faster)",
    "beam": "LLM, beam search (slowest)",
    "ctc": "CTC head alone (fastest)",
    "rnnt": "RNNT head alone",
    "tdt": "TDT head alone",
}


LIVE_HINT = (
    '<p class="maya-hint">Live text: what is pale may change, and the end of a segment rewrites it.</p>'
)


def add_page(app: FastAPI, service: Service) -> None:
    """Mount the page at `/`, or a line that says why there is none."""
    if not service.settings.page:
        return _say(app, "This server was started without its page.")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError:
        return _say(app, "The page needs Gradio: pip install 'maya-bridge[serve,page]'")
    folder = tempfile.TemporaryDirectory(prefix="maya-page-")
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    _empty_at_end(app, folder)
    uploads = PageUploads(Path(folder.name), service.settings.max_upload_bytes)
    key = service.settings.api_key
    gradio.mount_gradio_app(
        app,
        _blocks(gradio, service, uploads),
        path="/",
        auth=None if key is None else lambda name, given: is_key(given.encode("utf-8", "replace"), key),
        auth_message="Any name, and the API key of this server as the password.",
        show_error=False,
        max_file_size=service.settings.max_upload_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gradio.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace")),
        css=_asset("page.css"),
        head="".join(f"<script>{_asset(name)}</script>" for name in ("page.js", "page_live.js")),
    )
    return None


def _say(app: FastAPI, line: str) -> None:
    @app.get("/")
    async def plain() -> HTMLResponse:
        return HTMLResponse(plain_page(line))


def _empty_at_end(app: FastAPI, folder: "tempfile.TemporaryDirectory[str]") -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        try:
            async with inner(app) as state:
                yield state
        finally:
            folder.cleanup()

    app.router.lifespan_context = lifespan


def _asset(name: str) -> str:
    return resources.files("maya_bridge.serving").joinpath(name).read_text(encoding="utf-8")


def _blocks(gradio: Any, service: Service, uploads: PageUploads) -> Any:
    async def run(path: str, lang: str, decode: str, hotwords: str) -> AsyncIterator[tuple[str, str]]:
        async for shown in transcribed(service, uploads, path, lang, decode, hotwords):
            yield shown

    with gradio.Blocks(title="Maya ASR", analytics_enabled=False, delete_cache=(60, 600)) as blocks:
        gradio.HTML(f"<h1>Maya ASR</h1><p>Model <b>{service.settings.model_name}</b></p>")
        with gradio.Row():
            with gradio.Column(scale=2):
                audio, lang, decode = _audio(gradio), _langs(gradio, service), _decodes(gradio, service)
                hotwords = gradio.Textbox(label="Names and terms that may be said", placeholder="a, b, c")
                button = gradio.Button("Transcribe", variant="primary", elem_id="maya-go")
            with gradio.Column(scale=3):
                shown = gradio.HTML(plain_hint(), elem_id="maya-result")
                gradio.HTML('<audio id="maya-player" controls preload="auto"></audio>')
                timings = gradio.HTML(timings_html({}), elem_id="maya-timings")
        path = gradio.Textbox(visible="hidden", elem_id="maya-path")
        audio.change(None, [audio], [path], js="(file) => window.maya.keep(file)")
        button.click(
            run,
            [path, lang, decode, hotwords],
            [shown, timings],
            js="async (...given) => { await window.maya.kept; return given; }",
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )
        _add_live(gradio, service, lang, decode)
    return blocks


def _audio(gradio: Any) -> Any:
    return gradio.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label="Audio",
        editable=False,
        buttons=[],
        elem_id="maya-audio",
    )


def _langs(gradio: Any, service: Service) -> Any:
    choices = [*_auto(service), *languages(service.model.langs)]
    first = choices[0][1] if len(choices) == 1 or choices[0][1] == AUTO else None
    return gradio.Dropdown(choices, value=first, label="Language", elem_id="maya-lang")


def _decodes(gradio: Any, service: Service) -> Any:
    choices = [(DECODES.get(name, name), name) for name in service.model.decodes]
    return gradio.Dropdown(choices, value=choices[0][1], label="Decoding", elem_id="maya-decode")


def _add_live(gradio: Any, service: Service, lang: Any, decode: Any) -> None:
    """The microphone whose text comes while one speaks; all of it runs in the browser, over the WebSocket."""
    with gradio.Row():
        with gradio.Column(scale=2):
            key = gradio.Textbox(
                label="API key of the server",
                type="password",
                visible=service.settings.api_key is not None,
                elem_id="maya-live-key",
            )
            button = gradio.Button("Speak live", elem_id="maya-live-go")
        with gradio.Column(scale=3):
            gradio.HTML(f'{LIVE_HINT}<div id="maya-live-text" dir="auto" aria-live="polite"></div>')
    button.click(
        None,
        [lang, decode, key],
        js="(lang, decode, key) => { window.maya.live.toggle(lang, decode, key); }",
        api_visibility="private",
    )


def plain_hint() -> str:
    """Return what stands in the place of a text at first."""
    return '<p class="maya-hint">Record or upload something, and press Transcribe.</p>'


def _auto(service: Service) -> list[tuple[str, str]]:
    """The choice of no language, where the model can tell them apart."""
    try:
        service.order(AUTO)
    except ApiError:
        return []
    return [("find out", AUTO)]


async def transcribed(
    service: Service, uploads: PageUploads, path: str, lang: str, decode: str, hotwords: str
) -> AsyncIterator[tuple[str, str]]:
    """Yield the page's text and timings until the transcript is there."""
    with Stages(service.metrics).over() as stages:
        stages.enter("receive")
        work = asyncio.ensure_future(_transcript(service, uploads, (path, lang, decode, hotwords), stages))
        try:
            while not work.done():
                yield '<p class="maya-hint">Listening ...</p>', timings_html(stages.so_far(), stages.current)
                await asyncio.wait([work], timeout=TICK)
            transcript = work.result()
            stages.enter("write")
            text = words_html(transcript)
            stages.enter(None)
            yield text, timings_html(stages.seconds, None, transcript.duration)
        except ApiError as error:
            yield error_html(error.message), timings_html(stages.so_far())
        except Exception:
            log.exception("the page's request failed")
            yield error_html("the server failed on this audio"), timings_html(stages.so_far())
        finally:
            work.cancel()


async def _transcript(
    service: Service, uploads: PageUploads, asked: tuple[str, str, str, str], stages: Stages
) -> Transcript:
    path, lang, decode, hotwords = asked
    with service.admitted():
        order = service.order(lang or "", decode, tuple(hotwords_of(hotwords or "", [])), words=True)
        data = await asyncio.to_thread(uploads.take, path)
        return await service.transcribe(io.BytesIO(data), order, stages)
