"""Random reads and decoding of 16 kHz FLAC segments in one process, against what others would do.

    python benchmarks/read_decode.py [--segments 600] [--shards 3] [--repeats 5] [--seconds 7.5]

Voiced-like audio of mixed lengths is written into tar shards and indexed. Then the same segments, each with
its text, are read by maya-data at random, one by one and a batch at once; by lhotse at random, as cuts in
memory from the same byte ranges (`index.to_cuts()`), as it is installed and told to use libsndfile alone, and
as cuts of single files whose manifest is ready; by WebDataset in order, from tars of its own layout (audio
and JSON), decoding with soundfile. soundfile alone decodes the audio from bytes in memory. The ways take
turns every few segments, so that whatever else the machine does slows all of them alike. Prints CPU and wall
seconds (of the median repeat) and how many times as fast maya-data is, by CPU time. Fails if any sample
differs, or if a bar is missed.
"""

import argparse
import io
import statistics
import tarfile
import tempfile
import time
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from rich.console import Console
from rich.table import Table
from scipy.signal import lfilter

from maya_data.audio.fetch import read_audio, read_bytes, read_many
from maya_data.export.cuts import SegmentCuts
from maya_data.indexing.build import build_index
from maya_data.readers.final_export import FinalExport

RATE, SEED, BATCH = 16000, 0, 16
OURS = "maya-data, random"
BARS = {"soundfile, from memory": 0.9, "lhotse, random, cuts": 1.3, "webdataset, sequential": 1.2}
SCALE = np.float32(32768)


def voiced(random, seconds):
    """Pulses of a changing pitch through two resonances, with pauses and a little noise: 18 KB/s as FLAC."""
    samples = round(seconds * RATE)
    pitch = 120 + 40 * np.sin(np.arange(samples) / RATE * random.uniform(2, 5))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
    sound = lfilter([1], [1, -1.6, 0.81], lfilter([1], [1, -1.2, 0.9], pulses))
    envelope = np.clip(np.sin(np.arange(samples) / RATE * random.uniform(5, 9)) + 0.6, 0, 1)
    sound = sound * envelope / np.abs(sound).max() * 9000 + random.normal(0, 25, samples)
    return sound.astype(np.int16)


def write_shards(root, segments, shards, seconds):
    """Write tar shards in the final-export layout, and every segment as a file of its own."""
    random = np.random.default_rng(SEED)
    (root / "files").mkdir()
    for shard, numbers in enumerate(np.array_split(np.arange(segments), shards)):
        folder = root / "lang=hi" / f"{shard:03d}"
        folder.mkdir(parents=True)
        rows = []
        with tarfile.open(folder / "audio.tar", "w") as tar:
            for number in numbers:
                samples = voiced(random, float(np.clip(random.gamma(3, seconds / 3), 1, 30)))
                path = root / "files" / f"s{number:06d}.flac"
                soundfile.write(path, samples, RATE)
                offset = tar.offset + 512
                tar.add(path, path.name)
                rows.append(
                    {
                        "segment_id": path.stem,
                        "text": "a",
                        "duration": len(samples) / RATE,
                        "member": path.name,
                    }
                )
                rows[-1] |= {
                    "offset": offset,
                    "size": path.stat().st_size,
                    "sampling_rate": RATE,
                    "speaker": "s",
                }
        table = pa.Table.from_pylist(rows)
        pq.write_table(
            table.select(["segment_id", "member", "offset", "size"]), folder / "audio_index.parquet"
        )
        pq.write_table(table.drop_columns(["member", "offset", "size"]), folder / "metadata.parquet")
        (folder / "manifest.json").write_text("{}")


def write_webdataset(root, index):
    """Write the same segments as WebDataset's own writer lays them out, shard for shard; return the tars."""
    import webdataset

    tars = []
    for shard in range(len(index.names("shard"))):
        tars.append(str(root / f"web-{shard:03d}.tar"))
        with webdataset.TarWriter(tars[-1]) as tar:
            for i in np.flatnonzero(np.asarray(index.columns["shard"]) == shard).tolist():
                text = {"text": index.string("text", i), "lang": index.name("lang", i)}
                tar.write({"__key__": index.string("id", i), "flac": read_bytes(index, i), "json": text})
    return tars


def flac(key, data):
    """Decode as webdataset asks for it."""
    return soundfile.read(io.BytesIO(data), dtype="int16")[0] if key.endswith("flac") else None


def readers(root, index, order):
    """Return name -> call that yields (samples, text) of all segments; the samples may be floats."""
    import webdataset
    from lhotse import Recording, SupervisionSegment
    from lhotse.audio.backend import AudioBackend, get_default_audio_backend, set_current_audio_backend

    memory = [read_bytes(index, i) for i in order]
    files = [Recording.from_file(root / "files" / f"{index.string('id', i)}.flac").to_cut() for i in order]
    for cut, i in zip(files, order, strict=True):
        text = index.string("text", i)
        cut.supervisions = [SupervisionSegment(cut.id, cut.recording_id, 0.0, cut.duration, text=text)]
    cuts, tars = SegmentCuts(index), write_webdataset(root, index)
    installed, chosen = get_default_audio_backend(), AudioBackend.new("LibsndfileBackend")

    def lhotse(cut_of, backend):
        for k, i in enumerate(order):
            set_current_audio_backend(backend)
            cut = cut_of(k, i)
            yield cut.load_audio()[0], cut.supervisions[0].text

    def batches():
        for start in range(0, len(order), BATCH):
            ids = order[start : start + BATCH]
            yield from zip(read_many(index, ids), (index.string("text", i) for i in ids), strict=True)

    def web():
        source = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode(flac)
        return ((sound, about["text"]) for sound, about in source.to_tuple("flac", "json"))

    return {
        "soundfile, from memory": lambda: (
            (soundfile.read(io.BytesIO(data), dtype="int16")[0], None) for data in memory
        ),
        OURS: lambda: ((read_audio(index, i), index.string("text", i)) for i in order),
        "maya-data, random, a batch at once": batches,
        "lhotse, random, cuts": lambda: lhotse(lambda k, i: cuts._cut(i), installed),
        "lhotse, told to use libsndfile": lambda: lhotse(lambda k, i: cuts._cut(i), chosen),
        "lhotse, cuts of files, the same": lambda: lhotse(lambda k, i: files[k], chosen),
        "webdataset, sequential": web,
    }


def measure(ways, repeats):
    """Return name -> (CPU seconds, wall seconds, CPU seconds over maya-data's), medians of the repeats."""
    runs = [take_turns(ways, repeat) for repeat in range(repeats)]
    return {
        name: (
            statistics.median(run[name][0] for run in runs),
            statistics.median(run[name][1] for run in runs),
            statistics.median(run[name][0] / run[OURS][0] for run in runs),
        )
        for name in ways
    }


def take_turns(ways, first):
    """Return name -> (CPU seconds, wall seconds) of one pass, a few segments of each way in turn."""
    names = [*ways][first % len(ways) :] + [*ways][: first % len(ways)]
    streams = {name: iter(ways[name]()) for name in names}
    spent = dict.fromkeys(names, (0.0, 0.0))
    while streams:
        for name in [*streams]:
            cpu, wall = time.process_time(), time.perf_counter()
            taken = sum(1 for _ in islice(streams[name], BATCH))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            spent[name] = spent[name][0] + cpu, spent[name][1] + wall
            if taken < BATCH:
                del streams[name]
    return spent


def check_samples(ways):
    """Every way must give the same samples; WebDataset's come in another order, so sums are compared."""
    whole = {
        name: [np.round(sound * SCALE) if sound.dtype != np.int16 else sound for sound, _ in way()]
        for name, way in ways.items()
    }
    expected = whole.pop("soundfile, from memory")
    sums = sorted(int(samples.astype(np.int64).sum()) for samples in expected)
    for name, found in whole.items():
        same = (
            sorted(int(samples.astype(np.int64).sum()) for samples in found) == sums
            if name.startswith("webdataset")
            else all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
        )
        if not same:
            raise SystemExit(f"{name} gave other samples than soundfile")


def report(times, index):
    audio, encoded = index.hours * 3600, int(index.columns["size"].sum(dtype=np.int64))
    table = Table(title=f"{len(index)} segments, {audio / 3600:.2f} h, {encoded / 1e6:.0f} MB, one process")
    for column in ("way", "CPU s", "wall s", "segments/CPU s", "x real time", "maya-data is", "bar"):
        table.add_column(column)
    missed = []
    for name, (cpu, wall, ratio) in times.items():
        bar = BARS.get(name)
        figures = f"{cpu:.2f}", f"{wall:.2f}", f"{len(index) / cpu:.0f}", f"{audio / cpu:.0f}"
        table.add_row(name, *figures, f"{ratio:.2f}x", f"{bar}x" if bar else "")
        if bar and ratio < bar:
            missed.append(f"{name}: {ratio:.2f}x, {bar}x is due")
    Console(width=110).print(table)
    if missed:
        raise SystemExit("; ".join(missed))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=600)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=7.5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_shards(root, args.segments, args.shards, args.seconds)
        index = build_index(FinalExport(root=str(root)), root / "index")
        order = np.random.default_rng(SEED).permutation(len(index))
        ways = readers(root, index, order)
        check_samples(ways)
        report(measure(ways, args.repeats), index)


if __name__ == "__main__":
    main()
