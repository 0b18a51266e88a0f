"""Indexing at scale: CPU seconds and memory of reading shards, merging their parts, and opening the index.

    python benchmarks/index.py [--shards 100] [--rows 15000] [--dir FOLDER]

The shards are written first, in the final-export layout, with a tar that is a hole but for the first bytes of
each member: no audio is read while indexing. Prints figures a million segments, and what the guide's 3,551
shards would take.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.readers.final_export import FinalExport

GUIDE_SHARDS, GUIDE_ROWS = 3551, 15_000
SENTENCE = "यह एक लंबा वाक्य है जिसमें कई शब्द हैं और जो लगभग आठ सेकंड में बोला जाता है"
MEMBER = 1024


def main():
    arguments = parser().parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        root, out = Path(folder, "root"), Path(folder, "index")
        for number in range(arguments.shards):
            write_shard(root / "lang=hi" / f"{number:05d}", arguments.rows, number)
        before = memory()
        figures = {"read shards and merge": timed(lambda: build_index(FinalExport(root=str(root)), out))}
        grown = memory() - before
        figures["merge alone (nothing is new)"] = timed(lambda: build_index(FinalExport(root=str(root)), out))
        figures["open"] = timed(lambda: open_index(out))
        figures["first string"] = timed(lambda: open_index(out).string("text", 5))
        figures["find the last id"] = timed(lambda: open_index(out).find(f"{arguments.shards - 1}-0"))
        show(arguments.shards * arguments.rows, figures, grown, out)


def parser():
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--shards", type=int, default=100)
    made.add_argument("--rows", type=int, default=GUIDE_ROWS, help="segments of a shard")
    made.add_argument("--dir", help="where to write; a few GB for many shards")
    return made


def write_shard(folder, rows, seed):
    """Write the tables of a shard; its tar is a hole with the first bytes of each member."""
    rng = np.random.default_rng(seed)
    words = SENTENCE.split()
    ids = [f"{seed}-{n}" for n in range(rows)]
    lengths = rng.integers(4, len(words), rows)
    texts = [" ".join(words[:length]) + f" {n}" for n, length in enumerate(lengths)]
    folder.mkdir(parents=True)
    with open(folder / "audio.tar", "wb") as tar:
        for n in range(rows):
            tar.seek(n * MEMBER + 512)
            tar.write(b"fLaC")
        tar.truncate(rows * MEMBER)
    places = {"offset": np.arange(rows) * MEMBER + 512, "size": np.full(rows, 500)}
    durations = np.round(rng.gamma(4, 2, rows) + 0.3, 3)
    numbers = {"duration": durations, "sampling_rate": np.full(rows, 16000)}
    names = {"speaker": [f"{seed}-{n % 200}" for n in range(rows)], "domain": ["read"] * rows}
    pq.write_table(pa.table({"segment_id": ids} | places), folder / "audio_index.parquet")
    pq.write_table(
        pa.table({"segment_id": ids, "text": texts} | numbers | names), folder / "metadata.parquet"
    )
    (folder / "manifest.json").write_text(json.dumps({"corpus": "made"}))


def timed(work):
    """Return CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def memory():
    """Return the largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(segments, figures, grown, out):
    table = Table(title=f"{segments:,} segments")
    for column in ("step", "CPU s", "wall s", "CPU s a million", f"CPU s for {GUIDE_SHARDS:,} shards"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step, (cpu, wall) in figures.items():
        a_million = cpu / segments * 1e6
        whole = a_million * GUIDE_SHARDS * GUIDE_ROWS / 1e6
        table.add_row(step, f"{cpu:.2f}", f"{wall:.2f}", f"{a_million:.2f}", f"{whole:.0f}")
    sizes = {path.name: path.stat().st_size / segments for path in sorted(out.iterdir()) if path.is_file()}
    numbers = sum(size for name, size in sizes.items() if name.endswith(".npy"))
    console = Console()
    console.print(table)
    console.print(
        f"memory grown while indexing: {grown:.0f} MB; columns of numbers: {numbers:.1f} B a segment"
    )


if __name__ == "__main__":
    main()
