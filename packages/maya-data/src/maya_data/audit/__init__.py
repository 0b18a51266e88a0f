"""What the transcripts of an index are made of: scripts, odd characters, repeats, overlap with others.

Texts are read in chunks of Arrow memory, so an index of any size takes eight bytes a segment and no more.
"""

from maya_data.audit.charset import CharsetRow
from maya_data.audit.duplicates import Repeats, repeated_ids, repeats
from maya_data.audit.shared_texts import Overlap, overlap
from maya_data.audit.transcripts import Transcripts, read_transcripts

__all__ = [
    "CharsetRow",
    "Overlap",
    "Repeats",
    "Transcripts",
    "overlap",
    "read_transcripts",
    "repeated_ids",
    "repeats",
]
