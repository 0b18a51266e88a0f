"""Sources to transcripts: in batches, long files part by part, finished work taken from the journal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maya_bridge.any_model import AnyModel
from maya_bridge.sound_blocks import RATE
from maya_bridge.transcribe_files.batching import Measured, batches, windows
from maya_bridge.transcribe_files.inputs import Source
from maya_bridge.transcribe_files.opening import Part, parts
from maya_bridge.transcribe_files.resume import Done, Journal
from maya_encoder.audio import BadAudio, Waveform
from maya_encoder.hypothesis import Hypothesis, Word


@dataclass(frozen=True, kw_only=True)
class Orders:
    """How to transcribe."""

    lang: str
    """Language of all files, or auto."""
    decode: str | None = None
    """Of the model's `decodes`."""
    hotwords: tuple[str, ...] = ()
    """Names and terms that may be said."""
    words: bool = False
    """Whether word times are wanted."""
    batch_size: int = 16
    """Files decoded together."""


@dataclass(frozen=True)
class Transcript:
    """What became of a source: a hypothesis, or a mistake."""

    source: Source
    hypothesis: Hypothesis | None = None
    mistake: str | None = None


class Job:
    """A model with its orders and its journal."""

    def __init__(
        self, model: AnyModel, orders: Orders, journal: Journal, advance: Callable[[float], None]
    ) -> None:
        self._model = model
        self._orders = orders
        self._journal = journal
        self._advance = advance

    def transcripts(self, files: Sequence[Measured]) -> Iterator[Transcript]:
        """Yield what becomes of each file, in their order; a file that fails leaves the others alone."""
        for window in windows(files, self._orders.batch_size):
            found: dict[int, Transcript] = {}
            begun: dict[int, list[Done]] = {}
            for place, file in enumerate(window):
                if file.mistake is not None:
                    found[place] = Transcript(file.source, mistake=file.mistake)
                elif (done := self._journal.done(file.source)) and done[-1].last:
                    self._advance(done[-1].end / RATE)
                    found[place] = Transcript(file.source, joined(done))
                else:
                    begun[place] = done
            places = {id(window[place]): place for place in begun}
            for batch in batches([window[place] for place in begun], self._orders.batch_size):
                own = [places[id(file)] for file in batch]
                sources = [file.source for file in batch]
                found |= zip(own, self._batch(sources, [begun[place] for place in own]), strict=True)
            yield from (found[place] for place in range(len(window)))

    def _batch(self, sources: Sequence[Source], begun: Sequence[list[Done]]) -> list[Transcript]:
        """Transcribe the first missing part of each source together, the further parts of each alone."""
        readings = [
            _Reading(source, done, parts(source.path, done[-1].end if done else 0))
            for source, done in zip(sources, begun, strict=True)
        ]
        for reading in readings:
            reading.step()
        self._hear([reading for reading in readings if reading.part is not None])
        for reading in readings:
            while reading.goes_on:
                reading.step()
                self._hear([reading] if reading.part is not None else [])
        return [reading.transcript() for reading in readings]

    def _hear(self, readings: "Sequence[_Reading]") -> None:
        """Transcribe the parts that were read; where they cannot be together, one by one."""
        if not readings:
            return
        waveforms = [reading.part.waveform for reading in readings if reading.part is not None]
        try:
            found = self._texts(waveforms)
        except ValueError as error:
            if len(readings) == 1:
                readings[0].mistake = f"{readings[0].source.name}: {error}"
            else:
                for reading in readings:
                    self._hear([reading])
            return
        for reading, hypothesis in zip(readings, found, strict=True):
            self._journal.add(reading.source, reading.heard(hypothesis))
            self._advance(hypothesis.duration)

    def _texts(self, waveforms: list[Waveform]) -> list[Hypothesis]:
        orders = self._orders
        return self._model.transcribe(
            waveforms,
            orders.lang,
            decode=orders.decode,
            batch_size=orders.batch_size,
            hotwords=orders.hotwords,
            words=orders.words,
        )


@dataclass
class _Reading:
    """A source that is being read."""

    source: Source
    done: list[Done]
    ahead: Iterator[Part]
    part: Part | None = None
    mistake: str | None = None

    @property
    def goes_on(self) -> bool:
        return self.mistake is None and not self.done[-1].last

    def step(self) -> None:
        """Read the next part."""
        try:
            self.part = next(self.ahead)
        except (BadAudio, OSError) as error:
            self.part, self.mistake = None, str(error)
        except StopIteration:  # it was changed while it was read
            self.part, self.mistake = None, f"{self.source.name} is shorter than it was"

    def heard(self, hypothesis: Hypothesis) -> Done:
        """Note what was heard in the part."""
        assert self.part is not None
        self.done.append(Done(self.part.start, self.part.end, self.part.last, hypothesis))
        return self.done[-1]

    def transcript(self) -> Transcript:
        """Return what became of the source."""
        if self.mistake is not None:
            return Transcript(self.source, mistake=self.mistake)
        return Transcript(self.source, joined(self.done))


def joined(done: Sequence[Done]) -> Hypothesis:
    """Return the parts of a file as one hypothesis, with times from the beginning of the file."""
    first = done[0].hypothesis
    if len(done) == 1:
        return first
    found = [part.hypothesis for part in done]
    more: dict[str, Any] = {}
    if hasattr(first, "passes"):
        told = {one.fallback for one in found}  # type: ignore[attr-defined]
        more = {
            "fallback": next(
                iter(sorted(told - {None, "silence"})), "silence" if told == {"silence"} else None
            ),
            "doubt": next((one.doubt for one in found if one.doubt), None),  # type: ignore[attr-defined]
            "passes": sum(one.passes for one in found),  # type: ignore[attr-defined]
            "nbest": [],
        }
    return replace(
        next((one for one in found if one.text), first),
        text=" ".join(one.text for one in found if one.text),
        duration=done[-1].end / RATE,
        tokens=[token for one in found for token in one.tokens],
        score=sum(one.score for one in found),
        words=[word for part in done for word in _moved(part)],
        **more,
    )


def _moved(part: Done) -> Iterator[Word]:
    for word in part.hypothesis.words:
        offset = part.start / RATE
        yield replace(word, start=word.start + offset, end=word.end + offset)
