"""Metadata without audio: shards that can be indexed, mixed and planned like real ones, at any scale.

Durations, sizes of the languages, speakers and lengths of the texts are like those of a large speech corpus;
the manifest says `"audio": false`, so a reader asks for no tar.
"""

import functools
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from maya_data.script import LANGS
from maya_data.synth.errors import SynthesisError
from maya_data.synth.phrases import plain_words
from maya_data.synth.pool import Progress
from maya_data.synth.shards import is_done, new_shard, write_manifest

SHARD_SIZE = 15_000
RECIPE = 1  # raise it when the same settings would give other rows
HOURS = {
    **{"en": 28, "hi": 16, "te": 13, "ml": 12, "pa": 11, "ta": 10},
    **{"kn": 7, "gu": 6, "bn": 5, "mr": 5, "or": 3, "as": 1},
}
"""Relative size of each language."""
CORPORA = {"main": (0.8, 16000), "read": (0.15, 24000), "talk": (0.05, 48000)}
"""Corpus of a language -> (share of its segments, sampling rate)."""
DOMAINS = ("conversation", "news", "command")
SPEAKERS_A_SHARD = 40
CHARACTERS_A_SECOND = 12.0

_SECONDS = (1.86, 0.65)  # mean and deviation of log seconds: mean 7.9 s, 0.24 % over 40 s
_BYTES = 1.2  # of FLAC a sample
_BLOCK = 512
_LENGTHS, _VARIANTS = np.geomspace(3, 600, 24), 16  # texts of a language: characters, and how many of each

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MetadataShard:
    """Segments `first` to `first + segments` of a language."""

    lang: str
    first: int
    segments: int
    seed: int

    @property
    def folder(self) -> str:
        """Its place, relative to the corpus."""
        return f"train/lang={self.lang}/shard-{self.first // SHARD_SIZE:05d}"

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents."""
        return hashlib.sha256(json.dumps(["metadata", RECIPE, asdict(self)]).encode()).hexdigest()


def write_metadata(
    out_dir: str | Path,
    segments: int,
    *,
    langs: Sequence[str] = LANGS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Write OUT/train/lang=xx/shard-NNNNN/ without audio.tar, and return OUT/train.

    The same arguments give the same bytes. A finished shard is not made again, so an interrupted run goes on.
    Memory does not grow with `segments`.

    Args:
        out_dir: Folder of the corpus.
        segments: How many in all, 1 or more.
        langs: Language codes; their sizes differ as in a large corpus.
        seed: Chooses durations, texts and speakers.
        progress: Called with segments done, segments in all and the shard just done.

    Raises:
        SynthesisError: A language is unknown, the folder holds something else, or the disk is full.
    """
    if segments < 1:
        raise SynthesisError(f"`segments` must be 1 or more, got {segments}")
    root, done = Path(out_dir), 0
    shards = [shard for lang, n in _sizes(segments, langs).items() for shard in _cut(lang, n, seed)]
    _refuse_strangers(root, shards)
    for shard in shards:
        if not is_done(root, shard):
            _write(root, shard)
        done += shard.segments
        if progress:
            progress(done, segments, shard.folder)
    return root / "train"


def _sizes(segments: int, langs: Sequence[str]) -> dict[str, int]:
    """Share `segments` out among the languages; the sum is exact."""
    if unknown := [lang for lang in langs if lang not in HOURS]:
        raise SynthesisError(f"no phrases for language {unknown[0]!r}; there are: {', '.join(HOURS)}")
    shares = np.cumsum([HOURS[lang] for lang in langs])
    ends = np.rint(segments * shares / shares[-1]).astype(int)
    return dict(zip(langs, np.diff(ends, prepend=0).tolist(), strict=True))


def _cut(lang: str, segments: int, seed: int) -> Iterator[MetadataShard]:
    for first in range(0, segments, SHARD_SIZE):
        yield MetadataShard(lang, first, min(SHARD_SIZE, segments - first), seed)


def _refuse_strangers(root: Path, shards: Sequence[MetadataShard]) -> None:
    """A shard of another run in the same folder would silently become part of this corpus."""
    ours = {shard.folder for shard in shards}
    for path in sorted(root.glob("*/lang=*/shard-*")):
        if path.relative_to(root).as_posix() not in ours:
            raise SynthesisError(f"{path} is not part of this corpus; remove it or choose another folder")


def _write(root: Path, shard: MetadataShard) -> None:
    places, rows = _columns(shard)
    with new_shard(root, shard) as folder:
        _write_table(folder / "audio_index.parquet", places)
        _write_table(folder / "metadata.parquet", rows)
        seconds = round(float(np.sum(rows["duration"])), 3)
        write_manifest(folder, shard, {"segments": shard.segments, "duration": seconds, "audio": False})


def _write_table(path: Path, columns: dict[str, Any]) -> None:
    table = pa.table(columns)
    named = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    pq.write_table(table, path, use_dictionary=named, store_schema=False)


def _columns(shard: MetadataShard) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return places and metadata; names and texts are dictionaries, which parquet writes as they are."""
    n, lang = shard.segments, shard.lang
    rng = np.random.default_rng([shard.seed, LANGS.index(lang), shard.first])
    corpus = rng.choice(len(CORPORA), n, p=[share for share, _ in CORPORA.values()])
    rate = np.array([rate for _, rate in CORPORA.values()])[corpus]
    seconds = np.clip(rng.lognormal(*_SECONDS, n), 0.3, 120.0)
    samples = np.rint(seconds * rate).astype(np.int64)
    size = np.rint(samples * _BYTES * rng.uniform(0.8, 1.2, n)).astype(np.int64)
    speakers = [f"{lang}-{shard.first // SHARD_SIZE:05d}-{k:02d}" for k in range(SPEAKERS_A_SHARD)]
    ids = {"segment_id": _ids(f"{lang}-", shard.first, n)}
    return ids | {"offset": _offsets(size), "size": size}, ids | {
        "text": pa.DictionaryArray.from_arrays(_text_numbers(seconds, rng), _texts(lang)),
        "duration": samples / rate,
        "sampling_rate": rate,
        "num_samples": samples,
        "speaker": _named(rng.integers(SPEAKERS_A_SHARD, size=n), speakers),
        "domain": _named(rng.integers(len(DOMAINS), size=n), DOMAINS),
        "lang": _named(np.zeros(n), [lang]),
        "corpus": _named(corpus, list(CORPORA)),
    }


def _named(numbers: NDArray[Any], names: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(numbers.astype(np.int32), pa.array(names))


def _offsets(size: Ints) -> Ints:
    """Return where the members of a tar begin: each has a header, and is padded to whole blocks."""
    taken = _BLOCK - size // -_BLOCK * _BLOCK
    offsets: Ints = np.cumsum(taken) - taken + _BLOCK
    return offsets


def _ids(prefix: str, first: int, n: int) -> pa.Array:
    """Return `prefix` and nine digits for each number, made without a Python string each."""
    width = len(prefix) + 9
    cells = np.empty((n, width), np.uint8)
    cells[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    numbers = np.arange(first, first + n)
    for place in range(9):
        numbers, cells[:, width - 1 - place] = numbers // 10, numbers % 10 + ord("0")
    offsets = np.arange(n + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(cells))


def _text_numbers(seconds: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int32]:
    """Choose a text for each duration, about as long as somebody says in that time."""
    wanted = seconds * CHARACTERS_A_SECOND * rng.lognormal(0, 0.2, len(seconds))
    length = np.searchsorted(np.sqrt(_LENGTHS[1:] * _LENGTHS[:-1]), wanted)
    return (length * _VARIANTS + rng.integers(_VARIANTS, size=len(seconds))).astype(np.int32)


@functools.cache
def _texts(lang: str) -> pa.Array:
    """The texts of a language, the short ones first; all differ, or parquet would not keep the dictionary."""
    words, rng, texts = plain_words(lang), random.Random(f"texts {lang}"), dict[str, None]()
    for length in np.repeat(_LENGTHS, _VARIANTS):
        text = rng.choice(words)
        while len(text) < length or text in texts:
            text += " " + rng.choice(words)
        texts[text] = None
    return pa.array(list(texts))
