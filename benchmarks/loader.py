"""The loader of maya-data: seconds to the first batch of a big index, growth of its processes, equal samples.

    python benchmarks/loader.py [--segments 1000000] [--batches 5000]

The index has as many rows as told, all of which point at the same few real FLAC segments: reading and
decoding are real, and the index, the plan and the columns that are touched are as big as they would be. Each
start is a fresh interpreter.
"""

import argparse
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
from rich.console import Console
from rich.table import Table

RATE = 16_000
DISTINCT = 500
ROWS_A_SHARD = 20_000
START = """
import resource, sys, time
from maya_data.loading.loader import build_loader
begun, cpu = time.perf_counter(), time.process_time()
config = {"index": sys.argv[1], "plan": {"batch_duration": 120.0}, "num_workers": int(sys.argv[2])}
loader = build_loader(config)
batch = next(loader)
print(time.perf_counter() - begun, time.process_time() - cpu)
loader.close()
"""


class Repeated:
    """A reader whose shards all point at one tar of real audio."""

    text = "asr-v1"

    def __init__(self, root: Path, segments: int):
        self.root, self.segments = str(root), segments
        self.places = _write_audio(root)

    def shards(self) -> list[str]:
        return [f"{first:09d}" for first in range(0, self.segments, ROWS_A_SHARD)]

    def signature(self, shard: str) -> str:
        return shard

    def read_shard(self, shard: str) -> "object":
        from maya_data.readers import SCHEMA, ShardRows

        first = int(shard)
        rows = np.arange(first, min(first + ROWS_A_SHARD, self.segments))
        picked = self.places[rows % DISTINCT]
        columns = {
            "id": [f"segment-{row:09d}" for row in rows],
            "shard": ["audio.tar"] * len(rows),
            "offset": picked[:, 0].astype(np.int64),
            "size": picked[:, 1].astype(np.int64),
            "duration": picked[:, 2],
            "num_samples": np.rint(picked[:, 2] * RATE).astype(np.int64),
            "sampling_rate": np.full(len(rows), RATE),
            "text": [f"some words of segment {row}" for row in rows],
            "lang": ["en" if row % 3 else "hi" for row in rows],
            "corpus": ["benchmark"] * len(rows),
            "speaker": [f"speaker{row % 1000}" for row in rows],
            "domain": ["read"] * len(rows),
            "start": np.zeros(len(rows), np.int64),
        }
        return ShardRows(pa.table({name: columns[name] for name in SCHEMA.names}).cast(SCHEMA), Counter())


def _write_audio(root: Path) -> np.ndarray:
    """Write the tar; return offset, size and duration of each member (DISTINCT, 3)."""
    generator = np.random.default_rng(0)
    places = []
    with tarfile.open(root / "audio.tar", "w") as tar:
        for number, seconds in enumerate(generator.uniform(1.0, 3.0, DISTINCT).round(2)):
            samples = generator.normal(0, 1000, round(seconds * RATE)).astype(np.int16)
            buffer = io.BytesIO()
            soundfile.write(buffer, samples, RATE, format="FLAC")
            info = tarfile.TarInfo(f"{number}.flac")
            info.size = len(buffer.getvalue())
            places.append((tar.offset + 512, info.size, seconds))
            tar.addfile(info, io.BytesIO(buffer.getvalue()))
    return np.array(places)


def starts(index: Path, table: Table) -> None:
    """Add seconds from `build_loader` to the first batch, in a fresh interpreter each."""
    for workers in (0, 2):
        run = [sys.executable, "-c", START, index, str(workers)]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        wall, cpu = map(float, done.stdout.split())
        table.add_row(
            f"start to first batch, {workers} workers", f"{wall:.2f} s wall, {cpu:.2f} s CPU", "3 s"
        )


def growth(index: Path, batches: int, table: Table) -> None:
    """Add how much memory of its own a worker has at the end, against after a few batches."""
    from maya_data.loading.loader import build_loader

    plan = {"batch_duration": 4.0, "max_batch_size": 2}
    with build_loader({"index": index, "plan": plan, "num_workers": 2}) as loader:
        begun = time.perf_counter()
        list(_dropped(loader, 100))
        pids = _children()
        before = [_memory(pid) for pid in pids]
        list(_dropped(loader, batches - 100))
        after = [_memory(pid) for pid in pids]
        seconds = time.perf_counter() - begun
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        for kind in ("own", "all"):
            change = f"{old[kind] / 1024:.1f} -> {new[kind] / 1024:.1f} MB, {new[kind] / old[kind] - 1:+.1%}"
            what = "without mapped files" if kind == "own" else "with mapped files"
            table.add_row(
                f"worker {number} over {batches} batches, {what}", change, "5 %" if kind == "own" else ""
            )
    table.add_row("batches a second, 2 workers", f"{batches / seconds:.0f}", "")


def _dropped(loader: object, number: int) -> "object":
    for _ in islice(loader, number):  # type: ignore[call-overload]
        yield None


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{_pid()}/children").read_text().split()]


def _pid() -> str:
    return Path("/proc/self").resolve().name


def _memory(pid: int) -> dict[str, int]:
    """Return kilobytes in memory: without files, which are mapped pages of the index, and with them."""
    status = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()))
    return {"own": int(status["RssAnon"]), "all": int(status["VmRSS"])}


def equal(index: Path, table: Table) -> None:
    """Add whether workers and ranks change any byte of the first 64 batches."""
    from maya_data.loading.loader import build_loader

    def digests(workers: int, rank: int, world: int) -> list[str]:
        plan = {"batch_duration": 20.0, "sync_width": 8, "speeds": [0.9, 1.0, 1.1]}
        with build_loader({"index": index, "plan": plan, "num_workers": workers}, rank, world) as loader:
            return [_digest(batch) for batch in islice(loader, 64 // world)]

    whole = digests(0, 0, 1)
    for workers in (1, 2, 4):
        table.add_row(f"{workers} workers against none", _verdict(digests(workers, 0, 1) == whole), "same")
    for world in (2, 4, 8):
        ranks = [digests(0, rank, world) for rank in range(world)]
        read = [digest for step in zip(*ranks, strict=True) for digest in step]
        table.add_row(f"{world} ranks against one", _verdict(read == whole), "same")


def _digest(batch: object) -> str:
    text = json.dumps([batch.ids, batch.texts, batch.waveform_lens.tolist()])  # type: ignore[attr-defined]
    return hashlib.sha256(text.encode() + batch.waveforms.numpy().tobytes()).hexdigest()  # type: ignore[attr-defined]


def _verdict(same: bool) -> str:
    return "same" if same else "DIFFERENT"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=5_000)
    arguments = parser.parse_args()
    from maya_data.indexing.build import build_index

    table = Table("what", "measured", "bar", title=f"{arguments.segments:,} segments")
    with tempfile.TemporaryDirectory() as folder:
        root, index = Path(folder), Path(folder) / "index"
        build_index(Repeated(root, arguments.segments), index)
        starts(index, table)
        equal(index, table)
        growth(index, arguments.batches, table)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
