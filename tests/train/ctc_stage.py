"""Stages of the smallest acoustic model, an encoder with a CTC head: their settings and what they leave."""

from pathlib import Path
from typing import Any

import torch

import maya_encoder
from maya_encoder.heads.ctc import CTCConfig
from maya_train.schema import RunConfig

CTC_ONLY: dict[str, Any] = {
    "heads": {"ctc": CTCConfig()},
    "train": ["encoder", "ctc"],
    "lr": {"encoder": 1e-2, "ctc": 1e-2},
    "loss": {"ctc": 1.0},
}


def weights(cfg: RunConfig) -> dict[str, torch.Tensor]:
    """Return the tensors of the model that a stage has left."""
    return maya_encoder.load(Path(cfg.out_dir) / "model").state_dict()
