"""Our encoder against transformers' ParakeetEncoder: same weights, same features, both in one run.

    python benchmarks/encoder_step.py            # a few minutes on two idle cores
    python benchmarks/encoder_step.py --compile  # one more row, with torch.compile on both sides

Models take turns; a figure is the median of the rounds. The peer runs with the faster of its attentions
(sdpa, eager). FLOPs are counted on real frames alone, for both; the peak is a matrix product's in the same
rounds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a busy machine, spinning threads time each other
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import ParakeetEncoder, ParakeetEncoderConfig

from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.layout import lay_out

HIDDEN, HEADS, CHANNELS, MELS, KERNEL = 512, 8, 256, 80, 9
MIXED_SECONDS = (20.0, 2.0, 17.5, 4.5, 14.0, 7.0, 11.5, 9.5)
PEER_NAMES = {
    "subsampling.layers.": "pre_encode.conv.",
    "subsampling.linear.": "pre_encode.out.",
    ".q_proj.": ".linear_q.",
    ".k_proj.": ".linear_k.",
    ".v_proj.": ".linear_v.",
    ".o_proj.": ".linear_out.",
    ".relative_k_proj.": ".linear_pos.",
    ".bias_u": ".pos_bias_u",
    ".bias_v": ".pos_bias_v",
    ".conv.norm.": ".conv.batch_norm.",
}


@dataclass
class Batch:
    """Features (B, T, F) and their lengths."""

    features: Tensor
    lens: Tensor

    @property
    def mask(self) -> Tensor | None:
        """For the peer: nothing where nothing is padded."""
        real = torch.arange(self.features.shape[1]) < self.lens[:, None]
        return None if real.all() else real

    @property
    def padded_share(self) -> float:
        return 1 - self.lens.sum().item() / (len(self.lens) * self.features.shape[1])

    @property
    def our_padded_share(self) -> float:
        lens = -(-self.lens // 8)
        layout = lay_out(lens, -(-self.features.shape[1] // 8))
        return 0.0 if layout.lens else 1 - lens.sum().item() / (len(lens) * layout.num_frames)


@dataclass
class Timing:
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, call: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def batch_of(seconds: tuple[float, ...]) -> Batch:
    lens = torch.tensor([round(100 * s) for s in seconds])
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(lens), int(lens.max()), MELS, generator=generator)
    return Batch(features * (torch.arange(features.shape[1]) < lens[:, None])[..., None], lens)


def make_ours(num_layers: int) -> nn.Module:
    torch.manual_seed(0)
    return FastConformerConfig(num_layers=num_layers, dropout=0.0).build(MELS)


def make_peer(ours: nn.Module, num_layers: int, attention: str) -> nn.Module:
    config = ParakeetEncoderConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=num_layers,
        num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN,
        attention_bias=False,
        convolution_bias=False,
        conv_kernel_size=KERNEL,
        subsampling_conv_channels=CHANNELS,
        num_mel_bins=MELS,
        scale_input=False,
        attn_implementation=attention,
        **dict.fromkeys(("dropout", "dropout_positions", "activation_dropout", "attention_dropout"), 0.0),
        layerdrop=0.0,
    )
    peer = ParakeetEncoder(config)
    weights, state = ours.state_dict(), {}
    for name in peer.state_dict():
        ours_name = name
        for theirs, our in PEER_NAMES.items():
            ours_name = ours_name.replace(theirs, our)
        state[name] = weights[ours_name].clone()
    peer.load_state_dict(state)
    return peer


def call_ours(model: nn.Module, batch: Batch) -> Tensor:
    return model(batch.features, batch.lens)[0]


def call_peer(model: nn.Module, batch: Batch) -> Tensor:
    return model(batch.features, attention_mask=batch.mask).last_hidden_state


def forward(model: nn.Module, call: Callable[..., Tensor], batch: Batch) -> None:
    model.eval()
    with torch.inference_mode():
        call(model, batch)


def forward_backward(model: nn.Module, call: Callable[..., Tensor], batch: Batch) -> None:
    model.train()
    model.zero_grad(set_to_none=True)
    call(model, batch).square().mean().backward()


def flops(batch: Batch, num_layers: int) -> float:
    """Multiplications and additions of a forward pass on real frames."""
    total = 0.0
    for features in batch.lens.tolist():
        frames, d = -(-features // 8), HIDDEN
        block = frames * (23 * d * d + KERNEL * d) + 4 * frames * frames * d
        pairs = sum(features / n * MELS / n * (9 * CHANNELS + CHANNELS**2) for n in (4, 8))
        first = features / 2 * MELS / 2 * 9 * CHANNELS
        total += 2 * (num_layers * block + pairs + first + frames * CHANNELS * MELS // 8 * d)
    return total


def matmul_gflops(size: int = 2048) -> float:
    a, b = torch.randn(size, size), torch.randn(size, size)
    started = time.perf_counter()
    torch.mm(a, b)
    return 2 * size**3 / (time.perf_counter() - started) / 1e9


def check_equal(ours: nn.Module, peer: nn.Module, batch: Batch) -> None:
    """Both must compute the same, or the comparison means nothing."""
    ours.eval(), peer.eval()
    with torch.inference_mode():
        out, expected = call_ours(ours, batch), call_peer(peer, batch)
    for row, other, length in zip(out, expected, (-(-batch.lens // 8)).tolist(), strict=True):
        torch.testing.assert_close(row[:length], other[:length], atol=1e-3, rtol=1e-3)


Models = dict[str, tuple[nn.Module, Callable[..., Tensor]]]


def faster_peer(models: Models, run: Callable[..., None], batch: Batch) -> str:
    """The peer's attention that wins two trials."""
    trial = {name: Timing() for name in models}
    for _ in range(2):
        for name, (model, call) in models.items():
            trial[name].add(lambda model=model, call=call: run(model, call, batch))
    return min((name for name in models if name != "ours"), key=lambda name: min(trial[name].wall))


def measure(
    models: Models, run: Callable[..., None], batch: Batch, rounds: int
) -> tuple[dict[str, Timing], float]:
    """Timings of models that take turns, and the peak in between, in GFLOP/s."""
    timings, peaks = {name: Timing() for name in models}, []
    for _ in range(rounds):
        peaks.append(matmul_gflops())
        for name, timing in timings.items():
            model, call = models[name]
            timing.add(lambda model=model, call=call: run(model, call, batch))
    return timings, statistics.median(peaks)


def row(
    title: str, found: tuple[dict[str, Timing], float], work: float, batch: Batch, ours_pads: float
) -> list[str]:
    timings, peak = found
    (_, ours), (peer_name, peer) = timings.items()
    mine, theirs = statistics.median(ours.wall), statistics.median(peer.wall)
    cpu_ratio = statistics.median(peer.cpu) / statistics.median(ours.cpu)
    return [
        title,
        f"{mine:.2f}",
        f"{theirs:.2f} ({peer_name})",
        f"{theirs / mine:.2f}",
        f"{cpu_ratio:.2f}",
        f"{work / mine / 1e9 / peak:.0%} / {work / theirs / 1e9 / peak:.0%}",
        f"{ours_pads:.0%} / {batch.padded_share:.0%}",
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--compile", action="store_true", help="a further table with torch.compile on both sides"
    )
    parser.add_argument("--layers", type=int, default=17)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def table_of(title: str) -> Table:
    table = Table(title=title)
    columns = (
        "",
        "ours, s",
        "peer, s",
        "ratio",
        "ratio of CPU s",
        "share of matmul peak",
        "padding computed",
    )
    for column in columns:
        table.add_column(column)
    return table


def main() -> None:
    arguments, console = parse(), Console(width=120)
    torch.set_num_threads(arguments.threads)
    ours = make_ours(arguments.layers)
    models: Models = {"ours": (ours, call_ours)}
    for name in ("sdpa", "eager"):
        models[name] = (make_peer(ours, arguments.layers, name), call_peer)
    even, mixed = batch_of((10.0,) * 4), batch_of(MIXED_SECONDS)
    for batch in (even, mixed):
        check_equal(ours, models["sdpa"][0], batch)
    rows = [
        ("forward, 4 x 10 s", forward, even, 1),
        ("forward + backward, 4 x 10 s", forward_backward, even, 3),
        ("forward, 8 x 2..20 s", forward, mixed, 1),
        ("forward + backward, 8 x 2..20 s", forward_backward, mixed, 3),
    ]
    title = f"encoder {arguments.layers} x {HIDDEN}, fp32, {arguments.threads} threads (each: ours / peer)"
    table = table_of(title)
    for title, run, batch, passes in rows:
        rivals = {name: models[name] for name in ("ours", faster_peer(models, run, batch))}
        work = passes * flops(batch, arguments.layers)
        found = measure(rivals, run, batch, arguments.rounds)
        table.add_row(*row(title, found, work, batch, batch.our_padded_share))
        if arguments.compile and batch is even:
            compiled = {name: (torch.compile(model), call) for name, (model, call) in rivals.items()}
            faster_peer(compiled, run, batch)  # two calls that compile and settle
            found = measure(compiled, run, batch, arguments.rounds)
            table.add_row(*row(f"{title}, compiled", found, work, batch, 0.0))
    console.print(table)
    console.print(f"load of the machine over the last 1, 5 and 15 minutes: {os.getloadavg()}")


if __name__ == "__main__":
    main()
