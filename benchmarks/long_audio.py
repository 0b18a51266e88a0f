"""An hour of audio through the front end and the encoder with local attention, in one piece.

    python benchmarks/long_audio.py               # some minutes on two cores
    python benchmarks/long_audio.py --minutes 5

Prints the time and the largest memory of the process, which is to stay under 8 GiB.
"""

import argparse
import os
import resource
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from rich.console import Console

from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.features import LogMel

LIMIT_GIB = 8.0


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--layers", type=int, default=17)
    parser.add_argument("--context", type=int, default=128, help="frames of 80 ms on either side")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


@torch.inference_mode()
def main() -> None:
    arguments, console = parse(), Console()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    frontend = LogMel().eval()
    encoder = FastConformerConfig(num_layers=arguments.layers).build(num_mels=80).eval()
    encoder.set_attention("rel_pos_local_attn", context=(arguments.context, arguments.context))
    waveforms = 0.1 * torch.randn(1, round(arguments.minutes * 60 * frontend.sampling_rate))
    before, started = peak_gib(), time.perf_counter()
    features, feature_lens = frontend(waveforms, torch.tensor([waveforms.shape[1]]))
    with_features = peak_gib()
    out = encoder(features, feature_lens)
    seconds = time.perf_counter() - started
    assert out.encoder_out.isfinite().all()
    console.print(
        f"{arguments.minutes:g} minutes, {arguments.layers} x 512, window of {2 * arguments.context + 1}"
        f" frames, {arguments.threads} threads: {seconds:.0f} s,"
        f" {arguments.minutes * 60 / seconds:.0f} times as fast as speech"
    )
    console.print(
        f"peak memory {peak_gib():.2f} GiB (limit {LIMIT_GIB:g}); weights and waveform {before:.2f},"
        f" after the front end {with_features:.2f}"
    )
    console.print(f"load of the machine: {os.getloadavg()}")
    raise SystemExit(peak_gib() > LIMIT_GIB)


if __name__ == "__main__":
    main()
