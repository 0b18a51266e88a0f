"""A training step of a 32 x 1024 FastConformer with CTC and transducer on a GPU: MFU, and the losses' share.

    python benchmarks/gpu_step.py            # 32 utterances of 20 s, bfloat16 autocast, torch.compile

Model FLOPs of the encoder, 2 for each multiply-add: feed-forward, attention and convolution projections and
the depthwise convolution of every frame, and 8 T D for its attention over T frames; backward counts twice.
Not counted: subsampling (under 1 %), the position table, norms. Features are random: no front end takes part.
Without a GPU it says so and ends with status 2; `--device cpu` with small sizes tries the script itself.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig

MELS, FEATURES_PER_SECOND = 80, 100
PARTS = ("encoder, forward", "losses, forward", "losses, backward", "encoder, backward")


@dataclass
class Batch:
    features: Tensor
    feature_lens: Tensor
    tokens: Tensor
    token_lens: Tensor


def make_batch(options: argparse.Namespace) -> Batch:
    """Full lengths: no padding flatters or spoils the figure."""
    num_features = round(options.seconds * FEATURES_PER_SECOND)
    num_tokens = round(options.seconds * options.tokens_per_second)
    size = options.batch
    return Batch(
        torch.randn(size, num_features, MELS, device=options.device),
        torch.full((size,), num_features, device=options.device),
        torch.randint(options.vocab - 1, (size, num_tokens), device=options.device),
        torch.full((size,), num_tokens, device=options.device),
    )


def make_models(options: argparse.Namespace) -> tuple[nn.Module, nn.ModuleDict]:
    config = FastConformerConfig(
        num_layers=options.layers, hidden_size=options.width, num_heads=options.heads, dropout=0.0
    )
    encoder = config.build(MELS).to(options.device).train()
    sizes = {"prediction_size": options.joint, "joint_size": options.joint}
    transducer = TDTConfig(**sizes) if options.head == "tdt" else RNNTConfig(**sizes)
    heads = nn.ModuleDict(
        {
            name: head.build(in_dim=options.width, vocab_size=options.vocab)
            for name, head in (("ctc", CTCConfig()), (options.head, transducer))
        }
    )
    return encoder, heads.to(options.device).train()


def encoder_flops(options: argparse.Namespace, num_frames: int) -> float:
    """Of forward and backward."""
    width, kernel = options.width, 9
    layer = 2 * (23 * width**2 + kernel * width) + 8 * num_frames * width
    return 3.0 * options.batch * num_frames * options.layers * layer


class Clock:
    """Seconds between marks, on the GPU's own clock where there is one."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device.startswith("cuda")
        self.marks: list = []

    def mark(self) -> None:
        if self.on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        pairs = zip(self.marks, self.marks[1:], strict=False)
        if not self.on_gpu:
            return [b - a for a, b in pairs]
        torch.cuda.synchronize()
        return [a.elapsed_time(b) / 1000 for a, b in pairs]


def step(encode: Callable, encoder: nn.Module, heads: nn.ModuleDict, batch: Batch, clock: Clock) -> int:
    """Forward and backward, cut at the encoder's output; returns its frames."""
    encoder.zero_grad(set_to_none=True)
    heads.zero_grad(set_to_none=True)
    device = batch.features.device.type
    clock.mark()
    with torch.autocast(device, torch.bfloat16):
        encoder_out, lens = encode(batch.features, batch.feature_lens)
    clock.mark()
    cut = encoder_out.detach().requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        targets = (lens, batch.tokens, batch.token_lens)
        losses = [head.loss(cut, *targets, reduction="mean_batch") for head in heads.values()]
    clock.mark()
    sum(losses).backward()
    clock.mark()
    encoder_out.backward(cut.grad)
    clock.mark()
    return encoder_out.size(1)


def measure(options: argparse.Namespace) -> tuple[list[float], int]:
    """Median seconds of each part, and the frames of an utterance."""
    torch.manual_seed(0)
    encoder, heads = make_models(options)
    batch = make_batch(options)
    encode = torch.compile(encoder) if options.compile else encoder
    runs, num_frames = [], 0
    for _ in range(options.warmup + options.repeats):
        clock = Clock(options.device)
        num_frames = step(encode, encoder, heads, batch, clock)
        runs.append(clock.seconds())
    kept = runs[options.warmup :]
    return [statistics.median(part) for part in zip(*kept, strict=True)], num_frames


def report(options: argparse.Namespace, parts: list[float], num_frames: int) -> None:
    total, encoder = sum(parts), parts[0] + parts[3]
    flops = encoder_flops(options, num_frames)
    kernels = "Triton" if options.device.startswith("cuda") and find_spec("triton") else "plain torch"
    size = f"{options.layers} x {options.width}, batch {options.batch} of {options.seconds:g} s"
    print(f"{size}, {num_frames} frames")
    print(f"{options.head} with {options.vocab} ids and joint {options.joint}, lattice in {kernels}")
    for name, seconds in zip(PARTS, parts, strict=True):
        print(f"  {name:20s} {1000 * seconds:9.2f} ms {seconds / total:7.1%}")
    rate = flops / encoder / 1e12
    print(f"encoder: {flops / 1e12:.2f} TFLOP in {1000 * encoder:.1f} ms, {rate:.1f} TFLOP/s,", end=" ")
    print(f"{rate / options.peak:.1%} of {options.peak:g} (bar 35 %, aim 50 %)")
    print(f"losses: {1 - encoder / total:.1%} of the step (bar 15 %)")
    print(f"audio: {options.batch * options.seconds / total:.0f} s a second")
    if options.device.startswith("cuda"):
        gib = torch.cuda.max_memory_allocated() / 2**30
        print(f"peak memory: {gib:.1f} GiB on {torch.cuda.get_device_name()}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--head", choices=["rnnt", "tdt"], default="rnnt")
    numbers = {"batch": 32, "layers": 32, "width": 1024, "heads": 8, "vocab": 8193, "joint": 640}
    for name, value in {**numbers, "warmup": 5, "repeats": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in {"seconds": 20.0, "tokens-per-second": 3.0, "peak": 989.0}.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("this benchmark needs a CUDA device, and this machine has none", file=sys.stderr)
        return 2
    report(options, *measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
