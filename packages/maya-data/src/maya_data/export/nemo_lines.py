"""Lines of NeMo's manifests: one for every segment, and in a tar one for every member."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from maya_data.audio.files import open_binary
from maya_data.export.spelling import Texts, spelled
from maya_data.indexing.flags import UNTRAINABLE
from maya_data.indexing.segments import Segment, SegmentIndex
from maya_data.readers.tar import Member, walk

Line = dict[str, Any]

PARTS = re.compile(r"^(?P<stem>.+?)(?P<ext>\.\w+)?$")
LOOKS_LIKE_SUB = re.compile(r"-sub\d+(\.\w+)?$")


def file_lines(index: SegmentIndex, path: str, rows: Iterable[int], texts: Texts) -> Iterator[Line]:
    """Yield the lines of an audio file outside tars, for an ordinary manifest."""
    return (_line(index, index.row(row), path, texts) for row in rows)


def tar_lines(
    index: SegmentIndex, path: str, rows: Mapping[int, list[int]], number: int, texts: Texts
) -> Iterator[tuple[Line, int | None]]:
    """Yield the lines of tar `number` in its order, each with the byte offset of its member.

    NeMo refuses a tar with a member that has no line, so a member that is no segment gets one too, with
    `_skipme`; it comes with None instead of the offset.
    """
    for member in _members(path):
        here = rows.get(member.offset, [])
        shard = {"shard_id": number}
        if not here:
            yield (
                {"audio_filepath": _name(member.name, 0, 1), "duration": 0.0, "text": "", "_skipme": True}
                | shard,
                None,
            )
        for place, row in enumerate(here):
            name = _name(member.name, place, len(here))
            yield _line(index, index.row(row), name, texts) | shard, member.offset


def _members(path: str) -> Iterator[Member]:
    """Yield the members of a tar; names that are no text end it."""
    with open_binary(path) as tar:
        try:
            yield from walk(tar)
        except ValueError:
            return


def _name(member: str, place: int, count: int) -> str:
    """Return how NeMo finds a member; several segments of one file are told apart by `-sub<n>`.

    NeMo takes that ending off before it looks, so a member whose own name has it needs another one.
    """
    if count == 1 and not LOOKS_LIKE_SUB.search(member):
        return member
    match = PARTS.match(member)
    assert match
    return f"{match['stem']}-sub{place + 1}{match['ext'] or ''}"


def _line(index: SegmentIndex, segment: Segment, path: str, texts: Texts) -> Line:
    rate = max(segment.sampling_rate, 1)
    line: Line = {"audio_filepath": path, "duration": segment.num_samples / rate}
    line["text"] = spelled(segment, index.text_profile, texts)
    line |= dict.fromkeys(("lang", "source_lang", "target_lang"), segment.lang)
    line |= {"taskname": "asr", "utt_id": segment.id}
    line |= {key: value for key in ("corpus", "speaker", "domain") if (value := getattr(segment, key))}
    if "start" in index.columns:  # without an offset, NeMo takes a file outside tars from end to end
        line["offset"] = segment.start / rate
    if segment.flags & UNTRAINABLE:
        line["_skipme"] = True
    return line
