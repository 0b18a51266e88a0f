"""What a server takes, and how much of it."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class ServeSettings:
    """Limits of a server. Whatever they forbid is answered with an error at once, never waited for."""

    model_name: str = "maya"
    """The id of the model in `/v1/models`."""
    api_key: str | None = field(default=None, repr=False)
    """What clients must send as `Authorization: Bearer KEY`; None lets everybody in."""
    max_upload_mb: float = 100.0
    """Megabytes (2**20 bytes) of a request's body; 413 above."""
    max_seconds: float = 1800.0
    """Seconds of audio of one request; 413 above."""
    max_requests: int = 64
    """Requests that are received, waiting or decoded at a time; 429 above."""
    max_waiting_seconds: float = 7200.0
    """Seconds of decoded audio that all requests together may hold in memory; 429 above."""
    max_batch: int = 16
    """Pieces of audio decoded together."""
    max_batch_seconds: float = 120.0
    """Seconds of audio decoded together, the padding counted."""
    gather_seconds: float = 0.02
    """Longest time that a batch waits for requests that are known to be on their way."""
    timeout: float = 300.0
    """Seconds to receive a request (408 above), and again to answer it (504 above)."""
    page: bool = True
    """Whether `/` is a page for people; it needs the extra `page`."""

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {getattr(self, name)}")
        for name in ("max_upload_mb", "max_seconds", "max_waiting_seconds", "max_batch_seconds", "timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}")
        if self.gather_seconds < 0:
            raise ValueError(f"`gather_seconds` must be 0 or more, got {self.gather_seconds}")
        if self.api_key is not None and not self.api_key.strip():
            raise ValueError("`api_key` must not be empty; leave it out for a server without one")

    @property
    def max_upload_bytes(self) -> int:
        """Bytes of a request's body."""
        return int(self.max_upload_mb * 2**20)
