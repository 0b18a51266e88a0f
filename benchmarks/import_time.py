"""Seconds to import our encoder against transformers, each in a fresh interpreter, alternately, in one run.

    python benchmarks/import_time.py

CPU seconds, median of a few, less those of an empty interpreter: what an idle machine's clock shows. The
second row asks for what a user needs next, the class that opens a model; all but a tenth of that is torch.
"""

import resource
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

REPEATS = 3
EMPTY = "pass"
ROWS = {
    "the package": ("import maya_encoder", "import transformers"),
    "a model class": (
        "from maya_encoder import AcousticModel, load",
        "from transformers import ParakeetForCTC, ParakeetProcessor",
    ),
}
HEAVY = ("lhotse", "lightning", "scipy", "torchaudio", "transformers")
LOOK = f"import sys, maya_encoder; print(*[name for name in {HEAVY} if name in sys.modules])"


def seconds(code: str) -> float:
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime - started.ru_utime - started.ru_stime


def medians(codes: tuple[str, ...]) -> list[float]:
    rounds = [[seconds(code) for code in codes] for _ in range(REPEATS + 1)]
    return [statistics.median(row) for row in zip(*rounds[1:], strict=True)]  # the first round reads the disk


def main() -> None:
    table = Table("import of", "maya_encoder", "transformers", "ratio")
    for name, codes in ROWS.items():
        empty, mine, theirs = medians((EMPTY, *codes))
        mine, theirs = mine - empty, theirs - empty
        table.add_row(name, f"{mine:.2f} s", f"{theirs:.2f} s", f"{theirs / mine:.1f}x")
    Console().print(table)
    found = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True).stdout
    print(f"heavy modules that `import maya_encoder` pulls in: {found.strip() or 'none'}")


if __name__ == "__main__":
    main()
