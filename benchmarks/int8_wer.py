"""What int8 costs and saves: the demo's test set with float and with int8 weights, in one run.

    python benchmarks/int8_wer.py OUT [--layers] [--model runs/demo/model] [--run runs/demo]
        [--decode ctc rnnt greedy]

Writes OUT/float_ctc.jsonl, OUT/int8_ctc.jsonl, ..., prints megabytes and CPU seconds, and compares each
pair with `maya-eval compare` (WER by language, with intervals and paired tests). `--layers` times single
layers of common widths instead, sixteen vectors each.
"""

import argparse
import json
import statistics
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import torch

from maya_bridge.any_model import open_model
from maya_bridge.transcribe_files.int8 import Int8Linear


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    if args.layers:
        time_layers()
        return
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for shard in sorted((args.run / "data" / "test").glob("lang=*/shard-*/audio.tar")):
            with tarfile.open(shard) as tar:
                tar.extractall(folder, filter="data")
        lines = (args.run / "hyps" / "llm.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        for name, int8 in (("float", False), ("int8", True)):
            model = open_model(args.model, int8=int8)
            print(model.saving or "float32")
            for decode in args.decode:
                transcribe(model, rows, Path(folder), decode, args.out / f"{name}_{decode}.jsonl")
    for decode in args.decode:
        pair = [str(args.out / f"{name}_{decode}.jsonl") for name in ("float", "int8")]
        subprocess.run(["maya-eval", "compare", *pair], check=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--model", type=Path, default=Path("runs/demo/model"))
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--decode", nargs="+", default=["ctc", "rnnt", "greedy"])
    return parser.parse_args()


@torch.inference_mode()
def time_layers():
    for width, wide in ((128, 384), (640, 2048), (1152, 6912)):
        linear = torch.nn.Linear(width, wide)
        layers, x = (linear, Int8Linear(linear)), torch.randn(16, width)
        spent = [[], []]
        for _ in range(200):
            for times, layer in zip(spent, layers, strict=True):
                start = time.perf_counter()
                layer(x)
                times.append(time.perf_counter() - start)
        float32, int8 = (1e6 * statistics.median(times) for times in spent)
        print(f"{width} x {wide}: float32 {float32:.0f} us, int8 {int8:.0f} us")


def transcribe(model, rows, folder, decode, out):
    start = time.process_time()
    files = [folder / f"{row['utt_id']}.flac" for row in rows]
    found = model.transcribe(files, [row["lang"] for row in rows], decode=decode, batch_size=32)
    print(f"{decode}: {time.process_time() - start:.1f} s of CPU")
    kept = ("utt_id", "lang", "text", "duration")
    with out.open("w", encoding="utf-8") as file:
        for row, one in zip(rows, found, strict=True):
            line = {**{key: row[key] for key in kept}, "pred_text": one.text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
