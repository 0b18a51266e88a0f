"""A transcript in the shapes of OpenAI's API."""

import json
import math
import zlib
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from fastapi.responses import JSONResponse, PlainTextResponse, Response

from maya_bridge.serving.service import Transcript, later
from maya_bridge.transcribe_files.writers import Segment, segments_of, srt, vtt
from maya_encoder.hypothesis import Hypothesis

FORMATS = ("json", "verbose_json", "text", "srt", "vtt")
TIMED = ("verbose_json", "srt", "vtt")
"""Those that need the words' times."""
GRANULARITIES = ("segment", "word")
LEAST_LOGPROB = -1000.0
"""JSON has no infinity."""


def response(transcript: Transcript, form: str, granularities: Collection[str]) -> Response:
    """Return the answer in one of FORMATS; `granularities` are for verbose_json."""
    if form == "json":
        return JSONResponse({"text": transcript.text, "usage": _usage(transcript)})
    if form == "verbose_json":
        return JSONResponse(verbose(transcript, granularities))
    if form == "text":
        return PlainTextResponse(transcript.text + "\n")
    found = [segment for segment, _ in segments(transcript)]
    return PlainTextResponse(srt(found) if form == "srt" else vtt(found))


def events(transcript: Transcript) -> Response:
    """Return the answer as the events of `stream=true`: the text piece by piece, then all of it."""
    texts = [one.text for _, one in transcript.pieces if one.text]
    told: list[dict[str, Any]] = [
        {"type": "transcript.text.delta", "delta": f" {text}" if number else text}
        for number, text in enumerate(texts)
    ]
    told.append({"type": "transcript.text.done", "text": transcript.text})
    lines = "".join(f"data: {json.dumps(one, ensure_ascii=False)}\n\n" for one in told)
    return Response(lines, media_type="text/event-stream")


def verbose(transcript: Transcript, granularities: Collection[str]) -> dict[str, Any]:
    """Return what `verbose_json` tells."""
    found: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.lang,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "usage": _usage(transcript),
    }
    if "segment" in granularities:
        found["segments"] = [
            _segment(number, segment, piece) for number, (segment, piece) in enumerate(segments(transcript))
        ]
    if "word" in granularities:
        found["words"] = [
            {
                "word": word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in transcript.words
        ]
    return found


def segments(transcript: Transcript) -> list[tuple[Segment, Hypothesis]]:
    """Return the stretches that are shown at once, each with the hypothesis that it is a part of."""
    return [
        (
            replace(
                one,
                start=one.start + start,
                end=one.end + start,
                words=tuple(later(word, start) for word in one.words),
            ),
            piece,
        )
        for start, piece in transcript.pieces
        for one in segments_of(piece)
    ]


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


def _segment(number: int, segment: Segment, piece: Hypothesis) -> dict[str, Any]:
    text = segment.text.encode()
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": piece.tokens if segment.text == piece.text else [],
        "temperature": 0.0,
        "avg_logprob": max(piece.score / max(len(piece.tokens), 1), LEAST_LOGPROB),
        "compression_ratio": len(text) / max(len(zlib.compress(text)), 1),
        "no_speech_prob": 0.0,
    }
