"""What a plan costs: seconds a million segments, padding, and resuming in the middle of a huge epoch.

    python benchmarks/plan.py                          # a plan of a million segments, then one of 68 million
    python benchmarks/plan.py --segments 4000000

CPU seconds, the best of a few rounds: what an idle machine's clock shows. The huge index has real columns for
what a plan reads and empty files for the rest. Each figure of the huge plan is of a process of its own;
memory is what is private to the process, and apart from it the pages of the plan's own mapped files.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from maya_data import Plan, PlanConfig
from maya_data.indexing.segments import COLUMNS, SCHEMA_VERSION, open_index
from maya_data.planning.filters import ranges
from maya_data.planning.mix import MixConfig

LANGS = ("as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te")
THOUSAND_HOURS = np.array([1, 5, 28, 6, 16, 7, 12, 5, 3, 11, 10, 13])
ROUNDS = 5
RANKS = 8
BATCH_SECONDS = 360.0
STEPS = 50
"""Steps that are compared, on all ranks."""
KINDS = ("full", "block")


def write_index(folder: Path, segments: int) -> None:
    """Write an index of twelve languages whose durations are spread as those of read and spoken speech."""
    folder.mkdir(parents=True)
    kinds: dict[str, Any] = {"duration": np.float32, "lang": np.uint8, "offset": np.int64, "chars": np.uint16}
    made = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kinds.get(name, np.uint8), (segments,))
        for name in COLUMNS
    }
    draw = np.random.default_rng(0)
    for part in ranges(segments):
        length = part.stop - part.start
        made["duration"][part] = np.clip(draw.lognormal(1.85, 0.65, length), 0.3, 40)
        made["lang"][part] = draw.choice(len(LANGS), length, p=THOUSAND_HOURS / THOUSAND_HOURS.sum())
    names = {"sampling_rate": [16000], "lang": LANGS, "corpus": ["made-up"], "domain": [""]}
    source = {"name": "made-up", "reader": "none", "root": ".", "text": "asr-v1", "first_shard": 0}
    info = {"schema": SCHEMA_VERSION, "fingerprint": f"made-up-{segments}", "text": "asr-v1"}
    info |= {"segments": segments, "hours": float(made["duration"].sum(dtype=np.float64)) / 3600}
    info |= {"sources": [source], "dropped": {}, "broken": {}, "names": names}
    (folder / "index.json").write_text(json.dumps(info))


def settings(shuffle: str, **more: Any) -> PlanConfig:
    return PlanConfig(batch_duration=BATCH_SECONDS, sync_width=RANKS, shuffle=shuffle, **more)


def costs(folder: Path) -> None:
    """Print CPU seconds a million segments, and the padding."""
    index = open_index(folder)
    millions = len(index) / 1e6
    table = Table("one million segments", "sort, CPU s", "draw an epoch, CPU s", "together", "padding")
    for shuffle in KINDS:
        for buckets in (None, 30):
            config = settings(shuffle, num_buckets=buckets, mix=MixConfig(policy="natural"))
            rounds = [epoch(index, config) for _ in range(ROUNDS)]
            sort, draw = (min(times) / millions for times in list(zip(*rounds, strict=True))[:2])
            name = f"{shuffle}, {f'{buckets} buckets' if buckets else 'grid'}"
            table.add_row(name, f"{sort:.2f}", f"{draw:.2f}", f"{sort + draw:.2f}", f"{rounds[0][2]:.1%}")
    Console().print(table)


def epoch(index: Any, config: PlanConfig) -> tuple[float, float, float]:
    """Return the CPU seconds of a plan and of all its batches, and the share of padding."""
    started = time.process_time()
    plan = Plan(index, config)
    sorted_at = time.process_time()
    batches = [plan.batch(0, step) for step in plan.steps(0)]
    drawn_at = time.process_time()
    durations = [np.asarray(index.durations[ids], np.float64) for ids in batches]
    padded = sum(float(each.max()) * len(each) for each in durations)
    return (
        sorted_at - started,
        drawn_at - sorted_at,
        1 - sum(float(each.sum()) for each in durations) / padded,
    )


def digest(plan: Plan, first: int) -> str:
    made = hashlib.sha256()
    for step in range(first, first + STEPS):
        for rank in range(RANKS):
            made.update(plan.batch(1, step, rank, RANKS).tobytes())
    return made.hexdigest()[:16]


def memory() -> dict[str, float]:
    """Return MB that are private, and MB of the plan's mapped files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    ours, mapped = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            mapped = "/plans/" in line
        elif mapped and line.startswith("Rss:"):
            ours += int(line.split()[1])
    return {"private": int(status["RssAnon"].split()[0]) / 1024, "plan files": ours / 1024}


def child(folder: Path, shuffle: str, task: str) -> dict[str, Any]:
    """Do one task in this process: `build` the plan and run into the middle, or `resume` there."""
    index, before = open_index(folder), memory()
    wall, cpu = time.perf_counter(), time.process_time()
    plan = Plan(index, settings(shuffle))
    middle = len(plan.steps(1, RANKS)) // 2
    if task == "build":
        made = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        for step in range(middle - 1000, middle):
            plan.batch(1, step, 0, RANKS)
    else:
        plan.batch(1, middle, 0, RANKS)
        made = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    after = memory()
    made |= {"private": after["private"] - before["private"], "plan files": after["plan files"]}
    return made | {"digest": digest(plan, middle), "steps": len(plan.steps(1, RANKS))}


def huge(folder: Path, segments: int) -> None:
    """Print what building and resuming cost."""
    write_index(folder, segments)
    columns = ("wall s", "CPU s", "private MB", "plan file MB", "steps", "batches")
    table = Table(f"{segments:,} segments", *columns)
    for shuffle in KINDS:
        for task in ("build", "resume"):
            command = [sys.executable, __file__, "--child", str(folder), shuffle, task]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            numbers = (f"{done[name]:.2f}" for name in ("wall", "cpu"))
            sizes = (f"{done[name]:,.0f}" for name in ("private", "plan files"))
            table.add_row(f"{shuffle}, {task}", *numbers, *sizes, f"{done['steps']:,}", done["digest"])
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=68_000_000, help="of the huge index")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        folder, shuffle, task = arguments.child
        print(json.dumps(child(Path(folder), shuffle, task)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_index(Path(folder) / "million", 1_000_000)
        costs(Path(folder) / "million")
        huge(Path(folder) / "huge", arguments.segments)


if __name__ == "__main__":
    main()
