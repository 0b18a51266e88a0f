"""Limits of live streams."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class StreamSettings:
    """What a live stream may use of a server."""

    max_streams: int = 16
    """Streams at a time; 429 above."""
    max_frame_seconds: float = 10.0
    """Seconds of audio in one frame or append event; larger ones are refused."""
    max_buffered: float = 10.0
    """Seconds of audio that wait for the model; a client that sends faster is not read from until it has."""
    max_seconds: float = 6 * 3600.0
    """Seconds of audio of one stream."""
    idle_timeout: float = 60.0
    """Seconds without a message after which a stream is closed; also for a client that takes no answers."""
    max_errors: int = 20
    """Refused messages after which a stream is closed."""
    busy: float = 2.0
    """Seconds of work in front of the model from which on partial results are left out."""

    def __post_init__(self) -> None:
        for key in ("max_streams", "max_errors"):
            if getattr(self, key) < 1:
                raise ValueError(f"`{key}` must be 1 or more, got {getattr(self, key)}")
        for key in ("max_frame_seconds", "max_buffered", "max_seconds", "idle_timeout", "busy"):
            if not getattr(self, key) > 0:
                raise ValueError(f"`{key}` must be above 0, got {getattr(self, key)}")

    @property
    def max_frame_bytes(self) -> int:
        """Bytes of one frame."""
        return 2 * int(self.max_frame_seconds * 16000)
