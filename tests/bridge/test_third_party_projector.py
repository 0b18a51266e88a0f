"""A projector of somebody else: built and installed outside the repository, then found by its name."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "their-projectors"
version = "1.0"

[project.entry-points."maya.projectors"]
their_mean = "their_projectors:MeanConfig"
"""

CODE = """
from dataclasses import dataclass

from torch import nn
from torch.nn import functional as F

from maya_bridge.projectors import ProjectorOutput, scaled_mlp, valid_mask


class Mean(nn.Module):
    needs = frozenset()
    exact_lens = True

    def __init__(self, config, in_dim, out_dim, embed_rms):
        super().__init__()
        self.size = config.size
        self.mlp = scaled_mlp(in_dim, config.width, out_dim, embed_rms)

    def out_lens(self, lens):
        return (lens + self.size - 1) // self.size

    def forward(self, encoder_out, encoder_out_lens, ctc_log_probs=None, units=None):
        padding = ~valid_mask(encoder_out_lens, encoder_out.shape[1])
        frames = encoder_out.masked_fill(padding[..., None], 0)
        frames = F.pad(frames, (0, 0, 0, -frames.shape[1] % self.size))
        means = frames.unflatten(1, (-1, self.size)).mean(dim=2)
        return ProjectorOutput(self.mlp(means), self.out_lens(encoder_out_lens))


@dataclass(kw_only=True)
class MeanConfig:
    name: str = "their_mean"
    size: int = 2
    width: int = 24

    def build(self, in_dim, out_dim, embed_rms, vocab_size=None, state_dim=None):
        return Mean(self, in_dim, out_dim, embed_rms)
"""


def run(*command, **more):
    """Return what the command printed; a failure shows all of it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a fresh environment that sees what is installed here, and has their package."""
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "source").mkdir()
    (folder / "source/pyproject.toml").write_text(PYPROJECT)
    (folder / "source/their_projectors.py").write_text(CODE)
    venv.create(folder / "env", with_pip=False)
    python = str(folder / "env/bin/python")
    # addsitedir, since packages that are installed for editing are found through .pth files of their own.
    here = sysconfig.get_path("purelib")
    there = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(there, "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, str(folder / "source"))
    return python


def test_it_is_found_by_name_and_by_nobody_else(python):
    show = "from maya_encoder.plugins import available; print(*available('projectors'))"

    there, here = run(python, "-c", show).split(), run(sys.executable, "-c", show).split()

    assert set(there) - set(here) == {"their_mean"}


def test_it_is_chosen_by_name_and_its_fields_are_settings(python):
    choose = """
from maya_train.compose import compose
for cfg in compose(["recipe=demo_quick", "projector=their_mean", "projector.size=3"]):
    print(cfg.projector)
"""
    assert "MeanConfig(name='their_mean', size=3, width=24)" in run(
        python, "-c", choose, cwd=TESTS.parents[1]
    )


def test_the_contract_is_checked_for_it_too(python):
    tests = str(TESTS / "test_projectors.py")
    shown = run(
        *(python, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "their_mean", tests),
        cwd=TESTS.parents[1],
    )

    for claim in (
        "padding_changes_nothing",
        "out_lens_is_exact",
        "bfloat16",
        "learns_within_two",
        "by_heart",
    ):
        assert re.search(rf"{claim}\w*\[their_mean\] PASSED", shown), shown
