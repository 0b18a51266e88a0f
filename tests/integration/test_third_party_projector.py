"""Somebody else's package: one dataclass, one line of TOML, and `projector=its_name` trains."""

import json
import sys

import pytest

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "somebodys-projector"
version = "0.0.1"

[project.entry-points."maya.projectors"]
halver = "somebodys_projector:Halver"
"""

MODULE = """
from dataclasses import dataclass

import torch
from maya_bridge.projectors import ProjectorOutput
from torch import nn


@dataclass(kw_only=True)
class Halver:
    name: str = "halver"
    gain: float = 1.0

    def build(self, in_dim, out_dim, embed_rms, vocab_size=None, state_dim=None):
        return HalverModule(in_dim, out_dim, self.gain * embed_rms)


class HalverModule(nn.Module):
    needs = frozenset()
    exact_lens = True

    def __init__(self, in_dim, out_dim, scale):
        super().__init__()
        self.linear = nn.Linear(2 * in_dim, out_dim)
        self.norm = nn.LayerNorm(out_dim, elementwise_affine=False)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def out_lens(self, lens):
        return (lens + 1) // 2

    def forward(self, encoder_out, encoder_out_lens, ctc_log_probs=None, units=None):
        valid = torch.arange(encoder_out.shape[1])[None] < encoder_out_lens[:, None]
        frames = nn.functional.pad(encoder_out * valid[..., None], (0, 0, 0, encoder_out.shape[1] % 2))
        pairs = frames.reshape(frames.shape[0], -1, 2 * frames.shape[2])
        return ProjectorOutput(self.scale * self.norm(self.linear(pairs)), self.out_lens(encoder_out_lens))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, run):
    """A folder that holds the installed package, metadata and all."""
    source = tmp_path_factory.mktemp("source")
    (source / "somebodys_projector.py").write_text(MODULE)
    (source / "pyproject.toml").write_text(PYPROJECT)
    target = tmp_path_factory.mktemp("site")
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    done = run(sys.executable, "-m", "pip", "install", *flags, "--target", str(target), str(source))
    assert done.returncode == 0, done.stderr
    return target


def test_trains_with_a_projector_from_another_package(quick_demo, run, site, tmp_path):
    done = run(
        *(
            sys.executable,
            "packages/maya-train/run.py",
            "recipe=demo_quick",
            "stage=align",
            "projector=halver",
        ),
        *("projector.gain=1.5", "max_steps=3", f"out_dir={tmp_path}", "valid_every=0"),
        env={"PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert "halver" in (tmp_path / "model" / "config.yaml").read_text()


def test_without_the_package_the_name_is_unknown(quick_demo, run, tmp_path):
    done = run(
        *(
            sys.executable,
            "packages/maya-train/run.py",
            "recipe=demo_quick",
            "stage=align",
            "projector=halver",
        ),
        f"out_dir={tmp_path}",
    )
    assert done.returncode == 2
    assert "halver" in done.stderr
    assert "mlp" in done.stderr
