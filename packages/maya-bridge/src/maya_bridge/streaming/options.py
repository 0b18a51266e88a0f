"""How often a stream is heard, and where its segments end."""

from dataclasses import dataclass

SAMPLING_RATE = 16000
"""Samples a second of what a stream is made of."""


@dataclass(kw_only=True)
class StreamOptions:
    """Settings of `StreamSession`; all times in seconds of audio."""

    interval: float = 0.4
    """New audio after which the open segment is heard again."""
    catch_up: float = 2.0
    """New audio that is heard at once where more than an interval is waiting."""
    agreement: int = 2
    """Successive hypotheses that must agree on a word to make it stable."""
    margin: float = 0.2
    """A word that ends this near to the end of what was heard is not stable yet."""
    pause: float = 0.8
    """Time without words that ends a segment."""
    min_pause: float = 0.25
    """The same for a segment near its cap; between half the cap and the cap the time shrinks to this."""
    cap: float = 20.0
    """No segment is longer."""
    hold: float = 3.0
    """Time before the cap in which nothing becomes stable, so that the cut may be at its quietest point."""
    lead: float = 0.0
    """Quiet audio that is heard before speech; a model may hear a consonant where silence ends."""
    pad: float = 0.06
    """Quiet audio that is heard after speech."""
    silence: float = 1.0
    """Audio that is kept, for what follows, where no word was heard."""

    def __post_init__(self) -> None:
        for key in ("interval", "catch_up", "pause", "min_pause", "cap", "hold", "pad", "silence"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ValueError(f"`{key}` must be above 0 and finite, got {getattr(self, key)}")
        if self.agreement < 2:
            raise ValueError(f"`agreement` must be 2 or more hypotheses, got {self.agreement}")
        if not 0 <= self.lead < self.silence:
            raise ValueError(f"`lead` must be from 0 to below `silence` {self.silence}, got {self.lead}")
        if not 0 <= self.margin < self.cap:
            raise ValueError(f"`margin` must be from 0 to the cap {self.cap}, got {self.margin}")
        if not self.min_pause <= self.pause:
            raise ValueError(f"`min_pause` must be at most `pause` {self.pause}, got {self.min_pause}")
        if not 2 * max(self.hold, self.silence, self.pause) <= self.cap:
            raise ValueError(
                f"`cap` must be twice `hold`, `silence` and `pause` or more, got {self.cap} for "
                f"{self.hold}, {self.silence} and {self.pause}"
            )
        if not self.interval <= self.catch_up <= self.cap:
            raise ValueError(f"`catch_up` must be from `interval` to `cap`, got {self.catch_up}")

    def needed_pause(self, length: float) -> float:
        """Return the time without words that ends a segment of this length."""
        late = min(max(2 * length / self.cap - 1, 0.0), 1.0)
        return self.pause + late * (self.min_pause - self.pause)
