"""A folder of short files by `maya-transcribe`'s own job against one file after the other, in one run.

    python benchmarks/transcribe_folder.py [--model runs/demo/model] [--data runs/demo/data]
        [--files 200] [--decode greedy ctc] [--threads 2]

The model is loaded once for both sides, and both read the same files from the disk: the demo's Hindi, test
recordings first. Prints the median seconds of alternating runs and their ratio; fails where more than a text
in a hundred differs (sums of a batch round differently), or where the ratio is less than GOALS has.
"""

import argparse
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from maya_bridge.any_model import open_model
from maya_bridge.transcribe_files.batching import measured
from maya_bridge.transcribe_files.inputs import sources
from maya_bridge.transcribe_files.job import Job, Orders
from maya_bridge.transcribe_files.resume import Journal

GOALS = {"greedy": 3.0, "ctc": 1.3}
REPEATS = 3
LANG = "hi"


def main() -> int:
    args = arguments()
    torch.set_num_threads(args.threads)
    model = open_model(args.model)
    table = Table("decode", "files", "audio s", "one by one s", "folder s", "times as fast", "texts alike")
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        seconds = unpack(args.data, Path(folder), args.files)
        for decode in args.decode:
            alone, together = [], []
            for _ in range(REPEATS):
                one, texts = timed(lambda decode=decode: one_by_one(model, folder, decode))
                all_, batched = timed(lambda decode=decode: as_a_folder(model, folder, decode))
                alone.append(one)
                together.append(all_)
            ratio = statistics.median(alone) / statistics.median(together)
            alike = sum(texts[name] == batched[name] for name in texts)
            figures = (statistics.median(alone), statistics.median(together), ratio)
            table.add_row(
                decode,
                str(len(texts)),
                f"{seconds:.0f}",
                *(f"{x:.2f}" for x in figures),
                f"{alike}/{len(texts)}",
            )
            if ratio < GOALS.get(decode, 1.0) or alike < 0.99 * len(texts):
                missed.append(decode)
    Console().print(table)
    return 1 if missed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("runs/demo/model"))
    parser.add_argument("--data", type=Path, default=Path("runs/demo/data"))
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--decode", nargs="+", default=["greedy", "ctc"])
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def unpack(data: Path, folder: Path, count: int) -> float:
    """Write recordings to a folder; their seconds."""
    shards = [
        shard
        for split in ("test", "valid", "train")
        for shard in sorted(data.glob(f"{split}/lang={LANG}/shard-*/audio.tar"))
    ]
    left = count
    for shard in shards:
        with tarfile.open(shard) as tar:
            members = tar.getmembers()[:left]
            tar.extractall(folder, members, filter="data")
            left -= len(members)
    return sum(measured(source).seconds for source in sources([str(folder)], folder))


def timed(work):
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def one_by_one(model, folder, decode):
    return {
        source.path.name: model.transcribe([source.path], LANG, decode=decode)[0].text
        for source in sources([folder], Path(folder))
    }


def as_a_folder(model, folder, decode):
    files = [measured(source) for source in sources([folder], Path(folder))]
    job = Job(model, Orders(lang=LANG, decode=decode), Journal(None, {}), lambda seconds: None)
    return {found.source.path.name: found.hypothesis.text for found in job.transcripts(files)}


if __name__ == "__main__":
    sys.exit(main())
