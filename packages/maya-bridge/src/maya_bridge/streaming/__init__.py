"""Text while somebody still speaks: partial results of a head, and finished segments that an LLM may polish.

An encoder that attends to all of its input hears the open segment again with every step, so segments are
bounded: they end in pauses, or at a quiet point when they grow long. What successive hypotheses agree on is
stable and is never taken back within its segment; the tail behind it may change.
"""

from maya_bridge.streaming.agreement import StablePrefix
from maya_bridge.streaming.events import Delta, Done, Event, Listen
from maya_bridge.streaming.options import StreamOptions
from maya_bridge.streaming.session import StreamSession

__all__ = ["Delta", "Done", "Event", "Listen", "StablePrefix", "StreamOptions", "StreamSession"]
