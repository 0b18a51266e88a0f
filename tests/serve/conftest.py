import contextlib
import http.client
import io
import json
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from maya_bridge.serving.app import create_app
from maya_bridge.serving.running import make_server
from maya_bridge.serving.settings import ServeSettings
from maya_encoder.hypothesis import Hypothesis, Word

RATE = 16000
LEVELS = 4000
BOUNDARY = "hear-this"


@dataclass
class EchoModel:
    """Writes down the number that the audio's level is; it can be held up and made to fail."""

    langs: tuple[str, ...] = ("hi", "en")
    decodes: tuple[str, ...] = ("greedy", "ctc")
    batches: list[list[str]] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    going: threading.Event = field(default_factory=threading.Event)
    saving = None
    folder = "echo"

    def __post_init__(self) -> None:
        self.going.set()

    def check(self, lang, decode=None, hotwords=()):
        if decode is not None and decode not in self.decodes:
            raise ValueError(f"`decode` must be one of {self.decodes}, got {decode}")
        if lang not in (*self.langs, "auto"):
            raise ValueError(f"this model does not know language {lang!r}")
        if "forbidden" in hotwords:
            raise ValueError("hotwords must not be forbidden")

    def transcribe(self, audio, langs, *, decode=None, batch_size=16, hotwords=(), words=False):
        assert self.going.wait(30)
        texts = [self._text(one, hotwords) for one in audio]
        self.batches.append(texts)
        self.asked.append(decode)
        return [
            Hypothesis(text, "en" if lang == "auto" else lang, decode or "greedy", len(one) / RATE)
            if not words
            else self._with_words(text, "en" if lang == "auto" else lang, len(one) / RATE)
            for one, text, lang in zip(audio, texts, langs, strict=True)
        ]

    def _text(self, one, hotwords):
        number = round(float(np.median(one)) * LEVELS)
        if number == 13:
            raise RuntimeError("this number brings bad luck: /secret/place")
        return " ".join(["" if number == 0 else f"number {number}", *hotwords]).strip()

    def _with_words(self, text, lang, seconds):
        parts = text.split()
        step = seconds / max(len(parts), 1)
        words = [Word(part, n * step, (n + 1) * step, (n + 1) / len(parts)) for n, part in enumerate(parts)]
        return Hypothesis(text, lang, "greedy", seconds, list(range(len(parts))), -0.5, words)


def level(number: int, seconds: float = 0.2) -> np.ndarray:
    return np.full(round(seconds * RATE), number / LEVELS, dtype=np.float32)


def wav(samples: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str | None = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="session")
def said() -> Callable[..., bytes]:
    """Give the bytes of a WAV file that says a number."""
    return lambda number, seconds=0.2: wav(level(number, seconds))


def form(file: bytes | None, fields: dict[str, str], name: str = "a.wav") -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        parts += [head.encode(), file, b"\r\n"]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self):
        return json.loads(self.content)

    @property
    def error(self):
        return self.json["error"]


@dataclass
class Served:
    """A server in a thread of this process."""

    port: int
    model: EchoModel
    server: object

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def service(self):
        return self.server.service

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def request(self, method: str, path: str, body=None, connection=None, **headers: str) -> Answer:
        one = connection or self.connect()
        try:
            one.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            got = one.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            if connection is None:
                one.close()

    def ask(self, upload: bytes | None, /, name: str = "a.wav", connection=None, **fields: str) -> Answer:
        headers = {"Content_Type": f"multipart/form-data; boundary={BOUNDARY}"}
        if key := fields.pop("key", None):
            headers["Authorization"] = f"Bearer {key}"
        body = form(upload, {"model": "maya", "language": "hi", **fields}, name)
        return self.request("POST", "/v1/audio/transcriptions", body, connection, **headers)


@contextlib.contextmanager
def serving(model=None, **settings) -> Iterator[Served]:
    """Run a server until the block ends."""
    model = model or EchoModel()
    chosen = ServeSettings(**{"page": False, **settings})
    with warnings.catch_warnings(), socket.create_server(("127.0.0.1", 0)) as listening:
        warnings.simplefilter("ignore")  # of Gradio's and its libraries' own
        server = make_server(create_app(model, chosen), chosen, log_level="error")
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        until(lambda: server.started or not thread.is_alive())
        try:
            yield Served(listening.getsockname()[1], model, server)
        finally:
            model.going.set()
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def serve() -> Callable[..., contextlib.AbstractContextManager[Served]]:
    return serving


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
    """The server that the tests share; it has no page."""
    with serving(max_upload_mb=4, max_seconds=120) as served:
        yield served


@pytest.fixture(scope="session")
def sounds() -> SimpleNamespace:
    return SimpleNamespace(
        level=level, wav=wav, form=form, until=until, boundary=BOUNDARY, EchoModel=EchoModel
    )
