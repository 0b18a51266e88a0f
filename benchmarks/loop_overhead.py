"""What the training loop costs over the bare forward, backward and optimizer step of the same model.

    python benchmarks/loop_overhead.py [--steps 30] [--rounds 3]

Both sides train the demo's acoustic model (4 x 144, CTC and transducer) on the same batches in memory, in
turns in one process. The loop's side is `maya_train.loop.fit` as it is: normalisation over ranks, skipping,
schedule, metrics of every step, gauges, CSV, progress. Shown are medians over steps; the bar holds for CPU
time, which a busy machine changes least.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice, pairwise
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from lightning.fabric import Fabric

from maya_data.loading.batch import Batch
from maya_data.tokenizer import train_tokenizer
from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.tokenizer import Tokenizer
from maya_train.loop import Hooks, fit
from maya_train.schema import OptimConfig, RunConfig
from maya_train.strategies import Capabilities
from maya_train.tasks import Moment
from maya_train.tasks.acoustic import AcousticTask
from maya_train.wrapping import set_up

BAR = 0.03
RATE = 16_000
LETTERS = "abcdefghijklmnop "
TRAIN = ["encoder", "ctc", "rnnt"]
WARM_UP = 3

Times = list[tuple[float, float]]
"""Wall and CPU seconds of each step."""


def make_batches(number: int, size: int, seconds: float) -> list[Batch]:
    """Noise with made-up texts; lengths differ, as they do in a bucket."""
    random = np.random.default_rng(0)
    found = []
    for step in range(number):
        durations = sorted(random.uniform(0.8 * seconds, seconds, size).tolist(), reverse=True)
        lens = torch.tensor([int(duration * RATE) for duration in durations])
        texts = ["".join(random.choice(list(LETTERS), int(4 * duration))).strip() for duration in durations]
        waveforms = torch.randint(-3000, 3000, (size, int(lens.max())), dtype=torch.int16)
        ids = [f"{step}-{row}" for row in range(size)]
        found.append(Batch(ids, waveforms, lens, RATE, texts, ["en"] * size, durations, step))
    return found


def make_task(tokenizer: Path) -> AcousticTask:
    """The demo's model, the same each time."""
    torch.manual_seed(0)
    sizes = {"num_layers": 4, "hidden_size": 144, "num_heads": 4, "subsampling_channels": 32}
    config = AcousticModelConfig(
        encoder=FastConformerConfig(**sizes, subsampling_factor=4, dropout=0.0),
        heads={
            "ctc": CTCConfig(),
            "rnnt": RNNTConfig(prediction="stateless", prediction_size=128, joint_size=256),
        },
        langs=["en"],
        text="asr-v1",
    )
    return AcousticTask(AcousticModel(config, Tokenizer.load(tokenizer)), TRAIN, {"ctc": 1.0, "rnnt": 0.5})


def settings(folder: Path, steps: int) -> RunConfig:
    """A stage without validation, which saves once, at the end."""
    return RunConfig(
        stage="encoder",
        out_dir=str(folder),
        max_steps=steps,
        save_every=10**9,
        train=TRAIN,
        lr=dict.fromkeys(TRAIN, 1e-4),
        optim=OptimConfig(schedule="constant"),
        loggers=["csv"],
    )


def bare(fabric: Fabric, tokenizer: Path, batches: list[Batch], steps: int) -> Times:
    """A plain loop over Fabric."""
    task, cfg = make_task(tokenizer), settings(Path(), steps)
    module, optimizer = set_up(fabric, cfg, task, Capabilities())
    task.set_modes()
    found = []
    for batch in islice(cycle(batches), steps):
        started = time.perf_counter(), time.process_time()
        work = task.prepare(batch.to(fabric.device))
        loss = module(work, Moment(0, 1)).loss_sum / work.num_tokens
        fabric.backward(loss)
        fabric.clip_gradients(module, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        found.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return found


def looped(fabric: Fabric, tokenizer: Path, batches: list[Batch], steps: int) -> Times:
    """The loop, timed from one batch that it asks for to the next."""
    marks: list[tuple[float, float]] = []

    def stream(start: int) -> Iterator[Batch]:
        for batch in cycle(batches):
            marks.append((time.perf_counter(), time.process_time()))
            yield batch

    with tempfile.TemporaryDirectory() as folder:
        fit(fabric, settings(Path(folder), steps), make_task(tokenizer), Hooks(stream))
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.5, help="of the longest utterances")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    options = parse()
    torch.set_num_threads(options.threads)
    fabric = Fabric(accelerator="cpu", devices=1)
    batches = make_batches(8, options.batch, options.seconds)
    sides: dict[str, Times] = {"bare": [], "loop": []}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer"
        texts = [(text, "en") for batch in batches for text in batch.texts]
        train_tokenizer(texts, tokenizer, model_type="char")
        for _ in range(options.rounds):
            sides["bare"] += bare(fabric, tokenizer, batches, options.steps)[WARM_UP:]
            sides["loop"] += looped(fabric, tokenizer, batches, options.steps)[WARM_UP:]
    medians = {
        side: tuple(1000 * statistics.median(column) for column in zip(*times, strict=True))
        for side, times in sides.items()
    }
    for side, (wall, cpu) in medians.items():
        print(f"{side}: {wall:8.2f} ms a step, {cpu:8.2f} ms CPU")
    wall, cpu = (medians["loop"][kind] / medians["bare"][kind] - 1 for kind in (0, 1))
    print(f"overhead: {wall:+.1%} wall, {cpu:+.1%} CPU (bar {BAR:.0%})")
    return 0 if cpu <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
