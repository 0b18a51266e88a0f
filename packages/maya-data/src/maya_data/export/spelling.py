"""Which spelling of a transcript an export writes."""

from typing import Literal

from maya_data.indexing.segments import Segment
from maya_data.text import profile

Texts = Literal["raw", "profile"]
"""`raw` as in the source, `profile` as the text profile of the index spells them."""


def check_texts(texts: str) -> None:
    """Raise ValueError for a spelling that is not known."""
    if texts not in ("raw", "profile"):
        raise ValueError(f"`texts` must be raw or profile, got {texts!r}")


def spelled(segment: Segment, text_profile: str, texts: Texts) -> str:
    """Return the transcript of a segment in the chosen spelling."""
    return profile(text_profile).normalize(segment.text, segment.lang) if texts == "profile" else segment.text
