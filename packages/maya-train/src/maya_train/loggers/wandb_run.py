"""Weights & Biases: one run a stage, which a resumed stage continues; WANDB_MODE=offline holds."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from maya_train.loggers import MissingPackage
from maya_train.schema import RunConfig


class WandbRun:
    """A run; its id is kept in the stage's folder."""

    def __init__(self, cfg: RunConfig, folder: Path) -> None:
        try:
            wandb: Any = import_module("wandb")
        except ImportError:
            raise MissingPackage("pip install maya-train[wandb]") from None
        kept = folder / "wandb.id"
        if not kept.is_file():
            kept.write_text(uuid4().hex[:16], encoding="utf-8")
        self._run: Any = wandb.init(
            project="maya-train",
            group=cfg.recipe,
            name=f"{cfg.recipe}/{cfg.stage}",
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(folder),
            config=asdict(cfg),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One call a step."""
        self._run.log(dict(values), step=step)

    def resume(self, step: int) -> None:
        """W&B keeps the first value of a step; those that come again are the same."""

    def close(self) -> None:
        """End the run's upload."""
        self._run.finish()
