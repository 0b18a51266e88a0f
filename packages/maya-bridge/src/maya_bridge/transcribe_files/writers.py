"""Transcripts as text, JSON lines, SubRip and WebVTT: functions of what was heard, nothing else."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from maya_encoder.hypothesis import Hypothesis, Word

FORMATS = ("text", "jsonl", "srt", "vtt")
SUFFIXES = {"text": ".txt", "jsonl": ".jsonl", "srt": ".srt", "vtt": ".vtt"}
LINE = 42
"""Characters in a line of subtitles; a segment has two at most."""
LONGEST = 7.0
"""Seconds that a segment lasts at most, unless it is one word."""
PAUSE = 0.6
"""Seconds without a word that end a segment."""
SENTENCE_ENDS = (".", "?", "!", "\u0964", "\u0965")


@dataclass(frozen=True)
class Segment:
    """A stretch of a transcript that is shown at once."""

    start: float
    """Seconds from the beginning of the audio."""
    end: float
    """Seconds."""
    text: str
    words: tuple[Word, ...] = ()


def segments_of(hypothesis: Hypothesis) -> list[Segment]:
    """Return a transcript's segments: cut at pauses, sentence ends, two full lines and 7 seconds.

    A text without word times is one segment as long as the audio; an empty one has none.
    """
    if not hypothesis.words:
        text = hypothesis.text.strip()
        return [Segment(0.0, hypothesis.duration, text)] if text else []
    return [
        Segment(words[0].start, max(word.end for word in words), " ".join(word.text for word in words), words)
        for words in _groups(hypothesis.words)
    ]


ONE_LINE = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})
"""How a file's name is written where a line is one transcript."""


def text(hypothesis: Hypothesis, name: str | None = None, timestamps: bool = False) -> str:
    """Return the text as a line, after a name and a tab where there is a name.

    With timestamps there is a line for every word: start, end, confidence and text, behind tabs.
    """
    lines = [hypothesis.text if name is None else f"{name.translate(ONE_LINE)}\t{hypothesis.text}"]
    for word in hypothesis.words if timestamps else ():
        lines.append(f"\t{word.start:.2f}\t{word.end:.2f}\t{word.confidence:.2f}\t{word.text}")
    return "\n".join(lines) + "\n"


def json_line(hypothesis: Hypothesis, name: str) -> str:
    """Return all that is known as one line of JSON, `file` first."""
    return json.dumps({"file": name, **asdict(hypothesis)}, ensure_ascii=False) + "\n"


def srt(segments: Sequence[Segment]) -> str:
    """Return SubRip subtitles: numbered from 1, a comma before the milliseconds."""
    cues = (
        f"{number}\n{clock(one.start, ',')} --> {clock(one.end, ',')}\n{_lines(one.text)}\n"
        for number, one in enumerate(segments, start=1)
    )
    return "\n".join(cues)


def vtt(segments: Sequence[Segment]) -> str:
    """Return WebVTT subtitles; `&`, `<` and `>` of the text are escaped."""
    cues = (
        f"{clock(one.start, '.')} --> {clock(one.end, '.')}\n{_lines(_escaped(one.text))}\n"
        for one in segments
    )
    return "\n".join(["WEBVTT\n", *cues])


def clock(seconds: float, point: str = ".") -> str:
    """Return a time as HH:MM:SS.mmm, with `point` before the milliseconds."""
    whole = round(max(seconds, 0.0) * 1000)
    minutes, milliseconds = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _groups(words: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    group: list[Word] = []
    for word in words:
        if group and _ends_before(group, word):
            yield tuple(group)
            group = []
        group.append(word)
    yield tuple(group)


def _ends_before(group: Sequence[Word], word: Word) -> bool:
    shown = " ".join([*(one.text for one in group), word.text])
    return (
        word.start - group[-1].end >= PAUSE
        or word.end - group[0].start > LONGEST
        or group[-1].text.endswith(SENTENCE_ENDS)
        or len(_lines(shown).split("\n")) > 2
    )


def _lines(shown: str) -> str:
    """A text in lines of LINE characters; of two lines the first is not much longer than the second."""
    lines = _wrapped(shown, LINE)
    if len(lines) == 2:
        widths = range(max(map(len, shown.split())), LINE)
        lines = next((two for width in widths if len(two := _wrapped(shown, width)) == 2), lines)
    return "\n".join(lines)


def _wrapped(shown: str, width: int) -> list[str]:
    """Words in lines; one longer than `width` has its own line."""
    lines = [""]
    for word in shown.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _escaped(shown: str) -> str:
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
