"""One line of a NeMo manifest: where the sound is, what is said, in which language."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from maya_data.readers.audio_files import without_suffix
from maya_data.readers.languages import code_of
from maya_data.readers.lines import Lines, json_lines

LANG_FIELDS = ("lang", "language", "source_lang", "target_lang")
KNOWN = ("audio_filepath", "text", "duration", "offset", "speaker", "corpus", "domain", *LANG_FIELDS)


@dataclass(frozen=True)
class Entry:
    """What a line says."""

    audio: str
    """`audio_filepath` as it stands."""
    text: str
    duration: float | None
    """Seconds; None where the line does not say."""
    offset: float
    """Seconds into the file."""
    lang: str
    """Code, or '' where the line does not say."""
    values: dict[str, Any]
    """The line itself."""
    place: Callable[[], str]
    """Names file and line."""

    def name(self, path: str) -> str:
        """Return an id: the line's, else the path without suffix, and the millisecond where it begins."""
        if given := self.values.get("id") or self.values.get("utt_id"):
            return str(given)
        start = f"-{round(self.offset * 1000)}" if self.offset else ""
        return without_suffix(path.removeprefix("/")) + start

    def row(self, lang: str | None, corpus: str) -> dict[str, Any]:
        """Return the columns that need no look at the sound; `lang` and `corpus` overrule the line's."""
        return {
            "text": self.text,
            "lang": lang or self.lang,
            "corpus": corpus or str(self.values.get("corpus") or ""),
            "speaker": str(self.values.get("speaker") or ""),
            "domain": str(self.values.get("domain") or ""),
        }

    def lengths(self, rate: int, samples: int) -> dict[str, float]:
        """Return `start`, `duration` and `sampling_rate` within a file of `samples` at `rate`."""
        start = round(self.offset * rate)
        left = max(samples - start, 0) / rate if rate else 0.0
        duration = left if self.duration is None else self.duration
        return {"start": start, "duration": duration, "sampling_rate": rate}

    @property
    def extras(self) -> dict[str, Any]:
        """The line's further fields that are plain values, as text."""
        return {
            key: str(value) for key, value in self.values.items() if key not in KNOWN and value is not None
        }


def entries(lines: Lines, text_field: str = "text", lang_field: str = "lang") -> Iterator[Entry]:
    """Yield the entries of a manifest but for those marked `_skipme`; damaged lines are counted and named."""
    for number, values in json_lines(lines):
        if values.get("_skipme"):
            lines.left_out.add("marked _skipme", lines.place(number))
            continue
        try:
            yield _entry(values, text_field, lang_field, partial(lines.place, number))
        except (TypeError, ValueError, KeyError) as error:
            lines.damaged(number, _complaint(error))


def _complaint(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _entry(values: dict[str, Any], text_field: str, lang_field: str, place: Callable[[], str]) -> Entry:
    audio = values["audio_filepath"]
    if not isinstance(audio, str) or not audio:
        raise ValueError(f"audio_filepath is no path: {audio!r}")
    duration, offset = values.get("duration"), float(values.get("offset") or 0.0)
    if not math.isfinite(offset) or offset < 0:
        raise ValueError(f"offset is no number of seconds: {offset}")
    text = values.get(text_field)
    langs = (values.get(field) for field in (lang_field, *LANG_FIELDS))
    return Entry(
        audio=audio,
        text="" if text is None else str(text),
        duration=None if duration is None else float(duration),
        offset=offset,
        lang=code_of(str(next((lang for lang in langs if lang), ""))),
        values=values,
        place=place,
    )
