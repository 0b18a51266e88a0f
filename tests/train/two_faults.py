"""Faults of one process among two: two_faults.py OUT_DIR. It ends with status 1, since the last one hangs."""

import os
import runpy
import sys
from pathlib import Path

from lightning.fabric import Fabric

from maya_train.faults.desync import Desync
from maya_train.faults_config import FaultsConfig
from maya_train.schema import AverageConfig

os.environ["MAYA_TEST_FAULTS"] = "1"
STAND_IN = runpy.run_path(str(Path(__file__).parent / "stand_in.py"))
MIXED = ["oom_backward@2:0", "nan_loss@3:1", "nan_gradient@5:0"]


def main(out_dir: Path) -> None:
    """A run that bears three faults, one whose weights go apart, one in which rank 1 stands still."""
    train, normed = STAND_IN["train"], STAND_IN["normed"]
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    keys = {"average": AverageConfig(ema=0.5), "save_every": 3}
    train(fabric, out_dir / "mixed", normed(), faults=FaultsConfig(inject=MIXED), **keys)
    try:
        faults = FaultsConfig(inject=["desync@1:1"], desync_every=2)
        train(fabric, out_dir / "apart", normed(), faults=faults)
    except Desync as error:
        (out_dir / f"apart-{fabric.global_rank}.txt").write_text(str(error))
    faults = FaultsConfig(inject=["hang_in_data@4:1"], hang_minutes=0.04)
    train(fabric, out_dir / "hung", normed(), faults=faults)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
