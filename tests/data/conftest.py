"""A tiny corpus in the final-export layout: noise of known lengths, written once a session."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from maya_data.indexing.build import build_index
from maya_data.indexing.segments import SegmentIndex
from maya_data.readers import SCHEMA, ShardRows
from maya_data.readers.final_export import FinalExport

TEXTS = {"en": "don't stop", "hi": "नमस्ते दुनिया", "ta": "வணக்கம் உலகம்"}

WriteShard = Callable[..., list[dict[str, Any]]]


def _flac(seconds: float, seed: int, rate: int) -> bytes:
    samples = np.random.default_rng(seed).normal(0, 2000, round(seconds * rate)).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    return buffer.getvalue()


def _write_shard(
    folder: Path, durations: Sequence[float], rate: int = 16000, rename: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Write one shard; its metadata stand in reverse order of its audio. Return the metadata."""
    lang = folder.parent.name.removeprefix("lang=")
    folder.mkdir(parents=True)
    places, rows = [], []
    with tarfile.open(folder / "audio.tar", "w") as tar:
        for number, seconds in enumerate(durations):
            data = _flac(seconds, number, rate)
            name = f"{lang}-{folder.name}-{number:03d}"
            info = tarfile.TarInfo(f"{name}.flac")
            info.size = len(data)
            offset = tar.offset + 512
            tar.addfile(info, io.BytesIO(data))
            places.append({"segment_id": name, "member": info.name, "offset": offset, "size": len(data)})
            rows.append(
                {
                    "segment_id": name,
                    "text": f"{TEXTS.get(lang, 'text')}",
                    "duration": round(seconds * rate) / rate,
                    "sampling_rate": rate,
                    "num_samples": round(seconds * rate),
                    "speaker": f"speaker{number % 2}",
                    "domain": "word" if seconds < 1 else "sentence",
                    "lang": lang,
                }
            )
    names = rename or {}
    for file, table in (("audio_index", places), ("metadata", rows[::-1])):
        renamed = [{names.get(key, key): value for key, value in row.items()} for row in table]
        pq.write_table(pa.Table.from_pylist(renamed), folder / f"{file}.parquet")
    (folder / "manifest.json").write_text(json.dumps({"corpus": "tiny", "segments": len(rows)}))
    return rows


@pytest.fixture(scope="session")
def write_shard() -> WriteShard:
    return _write_shard


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English, Hindi and Tamil, with 40, 20 and 10 segments of 0.2 to 1.2 s."""
    root = tmp_path_factory.mktemp("corpus")
    durations = np.random.default_rng(0).uniform(0.2, 1.2, 70).round(3).tolist()
    _write_shard(root / "lang=en" / "000", durations[:30])
    _write_shard(root / "lang=en" / "001", durations[30:40])
    _write_shard(root / "lang=hi" / "000", durations[40:60])
    _write_shard(root / "lang=ta" / "000", durations[60:])
    return root


@pytest.fixture(scope="session")
def index(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> SegmentIndex:
    return build_index(FinalExport(root=str(corpus)), tmp_path_factory.mktemp("index"))


ROW = {
    "offset": 512,
    "size": 100,
    "duration": 1.5,
    "sampling_rate": 16000,
    "text": "hello",
    "lang": "en",
    "corpus": "c",
    "speaker": "s",
    "domain": "d",
}


class Shelf:
    """A reader of rows in memory: shard -> rows, of which only what differs from `ROW` is given."""

    def __init__(self, root: str = "/data", name: str = "shelf", **shards: list[dict[str, Any]]):
        self.root, self.name, self.content = root, name, shards
        self.reads: list[str] = []

    def shards(self) -> list[str]:
        return sorted(self.content)

    def signature(self, shard: str) -> str:
        return repr(self.content[shard])

    def read_shard(self, shard: str) -> ShardRows:
        self.reads.append(shard)
        defaults = [
            ROW | {"id": f"{shard}-{n}", "shard": f"{shard}.tar"} for n in range(len(self.content[shard]))
        ]
        rows = [default | row for default, row in zip(defaults, self.content[shard], strict=True)]
        return ShardRows(pa.Table.from_pylist(rows, schema=SCHEMA), Counter())


@pytest.fixture(scope="session")
def shelf() -> type[Shelf]:
    return Shelf
