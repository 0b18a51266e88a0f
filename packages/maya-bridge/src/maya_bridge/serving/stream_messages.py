"""What a client of a stream sends, and what it is sent; names are those of OpenAI's realtime API."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from maya_bridge.serving.errors import KINDS, ApiError
from maya_bridge.streaming.events import Delta, Event
from maya_bridge.streaming.options import SAMPLING_RATE
from maya_encoder.audio import Waveform


@dataclass(frozen=True)
class StreamRequest:
    """What a stream is to be transcribed with; None where the server chooses."""

    language: str | None = None
    decode: str | None = None
    """ctc, rnnt or tdt."""
    polish: str | None = None
    """A search of the LLM, or `none`."""
    hotwords: tuple[str, ...] = ()
    sampling_rate: int = SAMPLING_RATE
    """Samples a second of the audio that comes."""


@dataclass(frozen=True)
class Command:
    """A message that was understood."""

    kind: str
    """append, commit, clear, close or update."""
    samples: Waveform = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    """As they came, at the client's rate."""
    changes: Mapping[str, str | int] = field(default_factory=dict)
    """Settings that an update changes, for `requested`."""


KINDS_OF_COMMAND = {
    "input_audio_buffer.append": "append",
    "input_audio_buffer.commit": "commit",
    "input_audio_buffer.clear": "clear",
    "session.close": "close",
    "session.update": "update",
}
TEXTS = ("language", "decode", "polish", "prompt")
FIELDS = (*TEXTS, "sampling_rate")
RATES = (8000, 48_000)
"""Samples a second that a client may send."""
NESTED = ("audio", "input", "transcription")
PCM = ("pcm16", "audio/pcm", "pcm_s16le")


def bad(message: str, code: str = "invalid_value", param: str | None = None) -> ApiError:
    """Return the error of a message that is refused."""
    return ApiError(400, message, code=code, param=param)


def read_message(message: Mapping[str, Any], max_bytes: int) -> Command:
    """Return what a message of a client means.

    Args:
        message: of ASGI's `websocket.receive`.
        max_bytes: of audio.

    Raises:
        ApiError: a message that is refused; the stream may go on.
    """
    if (data := message.get("bytes")) is not None:
        return Command("append", _samples(data, max_bytes))
    text = message.get("text") or ""
    if len(text) > 2 * max_bytes + 4096:
        raise bad(
            f"a message must have at most {2 * max_bytes + 4096} characters, got {len(text)}", "too_large"
        )
    event = _object(text)
    kind = KINDS_OF_COMMAND.get(str(event.get("type")))
    if kind is None:
        known = ", ".join(KINDS_OF_COMMAND)
        raise bad(
            f"`type` must be one of {known}, got {str(event.get('type'))[:80]!r}", "unknown_event", "type"
        )
    if kind == "append":
        return Command(kind, _samples(_decoded(event.get("audio")), max_bytes))
    if kind == "update":
        return Command(kind, changes=_changes(event.get("session")))
    return Command(kind)


def event_id_of(message: Mapping[str, Any]) -> str | None:
    """Return the id that a client gave to a message, if it can be read."""
    try:
        found = json.loads(message.get("text") or "").get("event_id")
    except (ValueError, RecursionError, AttributeError):
        return None
    return found[:200] if isinstance(found, str) else None


def _object(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise bad(
            "a text frame must hold a JSON object with a `type`; audio goes in binary frames or as base64 in "
            "input_audio_buffer.append",
            "invalid_json",
        )
    return event


def _decoded(audio: Any) -> bytes:
    if not isinstance(audio, str):
        raise bad(f"`audio` must be a base64 string, got {type(audio).__name__}", param="audio")
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise bad("`audio` must be base64, and it is not", "invalid_audio", "audio") from None


def _samples(data: bytes, max_bytes: int) -> Waveform:
    if len(data) % 2:
        message = f"audio must be 16-bit samples, got {len(data)} bytes, an odd number"
        raise bad(message, "invalid_audio", "audio")
    if len(data) > max_bytes:
        raise bad(
            f"audio must come in at most {max_bytes} bytes at a time, got {len(data)}", "too_large", "audio"
        )
    samples: npt.NDArray[np.int16] = np.frombuffer(data, dtype="<i2")
    return samples.astype(np.float32) / 32768


def _changes(session: Any) -> dict[str, str | int]:
    if not isinstance(session, dict):
        raise bad(f"`session` must be an object, got {type(session).__name__}", param="session")
    given = {**_inside(session, NESTED), **session}
    found = {key: given[key] for key in TEXTS if given.get(key) is not None}
    if "polish" in given and given["polish"] is None:
        found["polish"] = "none"
    for key, value in found.items():
        if not isinstance(value, str) or len(value) > 4096:
            raise bad(f"`{key}` must be a string of at most 4096 characters", param=key)
    return found | _format(session)


def requested(now: StreamRequest, given: Mapping[str, str | int]) -> StreamRequest:
    """Return settings with the given ones in place of those of the same names.

    Raises:
        ApiError: a sampling rate that is none.
    """
    changed: dict[str, Any] = {key: given[key] for key in ("language", "decode", "polish") if given.get(key)}
    if "prompt" in given:
        words = str(given["prompt"]).split(",")
        changed["hotwords"] = tuple(word.strip() for word in words if word.strip())
    if "sampling_rate" in given:
        changed["sampling_rate"] = _rate(given["sampling_rate"])
    return replace(now, **changed)


def _rate(given: Any) -> int:
    if isinstance(given, str) and given.isdecimal() and len(given) < 7:  # of a query
        given = int(given)
    if type(given) is not int or not RATES[0] <= given <= RATES[1]:
        known = f"{RATES[0]} to {RATES[1]}"
        message = f"audio must be pcm16 of {known} samples a second, got {str(given)[:40]!r}"
        raise bad(message, "invalid_audio_format", "session.audio.input.format")
    return given


def _inside(session: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    found: Any = session
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _format(session: Mapping[str, Any]) -> dict[str, str | int]:
    nested = _inside(session, ("audio", "input", "format"))
    kind = session.get("input_audio_format", nested.get("type", PCM[0]))
    if kind not in PCM:
        message = f"audio must be pcm16, got {str(kind)[:40]!r}"
        raise bad(message, "invalid_audio_format", "session.audio.input.format")
    rate = session.get("sampling_rate", nested.get("rate"))
    return {} if rate is None else {"sampling_rate": _rate(rate)}


def shown(event: Event, session_id: str, language: str) -> dict[str, Any]:
    """Return an event of a stream as its client sees it."""
    told = asdict(event)
    told["item_id"] = f"{session_id}_{told.pop('segment')}"
    if isinstance(event, Delta):
        return {"type": "transcript.text.delta", **told}
    return {"type": "transcript.text.done", "language": language, **told}


def error_shown(error: ApiError, event_id: str | None = None) -> dict[str, Any]:
    """Return an error as a client sees it."""
    told = {**error.body()["error"], "event_id": event_id}
    return {"type": "error", "error": {**told, "type": KINDS.get(error.status, told["type"])}}
