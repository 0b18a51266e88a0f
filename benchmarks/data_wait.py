"""How much of a step waits for data, on the demo's corpus with two loader processes.

    make demo QUICK=1 && python benchmarks/data_wait.py [--run-dir runs/demo_quick] [--steps 60] [--workers 2]

Trains the demo's encoder stage for some steps in a folder of its own and reads its metrics.jsonl; the first
steps, in which the processes start, are not counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BAR = 0.03
SKIPPED = 5
RUN = Path(__file__).parents[1] / "packages" / "maya-train" / "run.py"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo_quick"))
    parser.add_argument("--recipe", default="demo_quick")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of the training process")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if not (options.run_dir / "index" / "train" / "index.json").is_file():
        print(f"no index in {options.run_dir}: `make demo QUICK=1` makes one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        keys = [
            f"recipe={options.recipe}",
            "stage=encoder",
            f"run_dir={options.run_dir}",
            f"out_dir={folder}/stage",
            f"max_steps={options.steps}",
            f"data.num_workers={options.workers}",
            "data.valid_index=null",
            f"threads={options.threads}",
            "devices=1",
        ]
        subprocess.run([sys.executable, RUN, *keys], check=True)
        lines = (Path(folder) / "stage" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    times = [json.loads(line)["time"] for line in lines][SKIPPED:]
    data, step = (sum(time[kind] for time in times) for kind in ("data", "step"))
    share = data / (data + step)
    each = f"{1000 * data / len(times):.1f} ms of {1000 * (data + step) / len(times):.1f} ms a step"
    print(f"waits for data: {share:.1%}, {each}, {options.workers} loader processes (bar {BAR:.0%})")
    return 0 if share <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
