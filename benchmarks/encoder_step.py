"""One training step of our encoder against transformers' Parakeet encoder, same sizes, in one run.

    python benchmarks/encoder_step.py

Prints the median CPU seconds of both and their ratio. The peer's class has no CTC or transducer head either.
"""

import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from transformers import ParakeetEncoder, ParakeetEncoderConfig

from maya_encoder.fastconformer import FastConformerConfig

THREADS, REPEATS = 1, 12
BATCH, FRAMES, MELS = 7, 300, 80
SIZES = {"num_layers": 4, "hidden_size": 144, "num_heads": 4, "subsampling_channels": 32}


def ours() -> torch.nn.Module:
    return FastConformerConfig(**SIZES, subsampling_factor=8, use_bias=True, dropout=0.1).build(MELS)


def peer() -> torch.nn.Module:
    config = ParakeetEncoderConfig(
        hidden_size=SIZES["hidden_size"],
        num_hidden_layers=SIZES["num_layers"],
        num_attention_heads=SIZES["num_heads"],
        intermediate_size=4 * SIZES["hidden_size"],
        conv_kernel_size=9,
        subsampling_factor=8,
        subsampling_conv_channels=SIZES["subsampling_channels"],
        num_mel_bins=MELS,
    )
    return ParakeetEncoder(config)


def step_seconds(model: torch.nn.Module, call) -> float:
    """Median CPU seconds of forward and backward."""
    model.train()
    spent = []
    for _ in range(REPEATS):
        model.zero_grad()
        started = time.process_time()
        call(model).square().mean().backward()
        spent.append(time.process_time() - started)
    return statistics.median(spent[2:])


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    features = torch.randn(BATCH, FRAMES, MELS)
    lens = torch.full((BATCH,), FRAMES)
    lens[0] = FRAMES - 40
    mask = torch.arange(FRAMES)[None] < lens[:, None]
    mine = step_seconds(ours(), lambda m: m(features, lens)[0])
    theirs = step_seconds(peer(), lambda m: m(features, attention_mask=mask).last_hidden_state)
    table = Table(title=f"encoder, forward + backward, B={BATCH} T={FRAMES}, {THREADS} thread")
    for column in ("", "CPU s a step", "ratio"):
        table.add_column(column)
    table.add_row("maya-encoder", f"{mine:.3f}", "1.00")
    table.add_row("transformers ParakeetEncoder", f"{theirs:.3f}", f"{theirs / mine:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
