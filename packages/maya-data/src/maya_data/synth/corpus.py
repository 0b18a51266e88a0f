"""The plan of a synthetic corpus: who says what, how fast and how high, in which shard of which split.

A plan is a pure function of its arguments. Splits share no sentence and no voice; every word of the lexicon
is also spoken alone in train, so valid and test hold no unknown word.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from maya_data.synth.errors import SynthesisError
from maya_data.synth.phrases import lexicon
from maya_data.synth.voices import VoiceSets

SHARD_SIZE = 1000
RECIPE = 1  # raise it when the same plan would sound different: older shards are then not taken for ours
_RATES, _PITCHES = (135, 185), (35, 65)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything, a language."""

    sentences: int = 400
    """Sentences in train."""
    words: int = 2
    """Clips of every single word in train, each in another voice."""
    valid: int = 12
    """Sentences in valid."""
    test: int = 50
    """Sentences in test."""

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            if value < 1:
                raise SynthesisError(f"`{key}` must be 1 or more, got {value}")


@dataclass(frozen=True)
class Utterance:
    """One clip to make."""

    id: str
    text: str
    voice: str
    domain: str
    rate: int
    pitch: int
    seed: int


@dataclass(frozen=True)
class Unit:
    """One shard to make in one process: `folder` is relative to the corpus."""

    folder: str
    lang: str
    utterances: tuple[Utterance, ...]

    @property
    def fingerprint(self) -> str:
        """Equal for equal plans."""
        return hashlib.sha256(json.dumps([RECIPE, asdict(self)], sort_keys=True).encode()).hexdigest()


def plan(langs: Sequence[str], sizes: Sizes, voices: VoiceSets, seed: int) -> list[Unit]:
    """The shards of all languages, train first."""
    splits = {"train": voices.train, "valid": voices.valid, "test": voices.test}
    texts = {lang: _texts(lang, sizes, seed) for lang in langs}
    units = []
    for split, speakers in splits.items():
        for lang in langs:
            utterances = list(_cast(f"{split}-{lang}", texts[lang][split], speakers, seed))
            units += _cut(f"{split}/lang={lang}", lang, utterances)
    return units


def to_job(root: Path, unit: Unit) -> str:
    """The line that asks a worker for a unit."""
    return json.dumps({"root": str(root), **asdict(unit)})


def from_job(line: str) -> tuple[Path, Unit]:
    """What `to_job` wrote."""
    job = json.loads(line)
    utterances = tuple(Utterance(**row) for row in job["utterances"])
    return Path(job["root"]), Unit(job["folder"], job["lang"], utterances)


def _texts(lang: str, sizes: Sizes, seed: int) -> dict[str, list[tuple[str, str]]]:
    """(text, domain) of each split; test and valid do not depend on the size of train."""
    words, rng = lexicon(lang), random.Random(f"sentences {lang} {seed}")
    test = words.sentences(sizes.test, rng)
    valid = words.sentences(sizes.valid, rng, avoid=test)
    train = words.sentences(sizes.sentences, rng, avoid=[*test, *valid])
    texts = {
        split: [(text, "sentence") for text in sentences]
        for split, sentences in (("train", train), ("valid", valid), ("test", test))
    }
    texts["train"] += [(word, "word") for word in words.words() for _ in range(sizes.words)]
    return texts


def _cast(name: str, texts: list[tuple[str, str]], speakers: Sequence[str], seed: int) -> Iterator[Utterance]:
    rng, queue = random.Random(f"voices {name} {seed}"), list[str]()
    for number, (text, domain) in enumerate(texts):
        if (
            not queue
        ):  # all speakers once, in a new order: equal shares, and takes of one word differ in voice
            queue = rng.sample(speakers, len(speakers))
        yield Utterance(
            id=f"{name}-{number:06d}",
            text=text,
            voice=queue.pop(),
            domain=domain,
            rate=rng.randint(*_RATES),
            pitch=rng.randint(*_PITCHES),
            seed=rng.getrandbits(32),
        )


def _cut(folder: str, lang: str, utterances: list[Utterance]) -> list[Unit]:
    starts = range(0, len(utterances), SHARD_SIZE)
    return [
        Unit(f"{folder}/shard-{number:05d}", lang, tuple(utterances[start : start + SHARD_SIZE]))
        for number, start in enumerate(starts)
    ]
