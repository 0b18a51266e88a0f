import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from maya_encoder.heads import kernels
from maya_encoder.heads.kernels import TORCH, kernels_for

CASES = Path(__file__).with_name("triton_cases.py")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


def run_cases(**environment):
    """In a process of its own: Triton decides when it is imported whether it interprets."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    found = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    return found.returncode, found.stdout[-3000:] + found.stderr[-1000:]


@needs_triton
def test_kernels_agree_with_plain_torch_in_tritons_interpreter():
    code, told = run_cases(TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    assert (code, " passed" in told) == (0, True), told


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_agree_with_plain_torch_on_a_gpu():
    code, told = run_cases()
    assert (code, " passed" in told) == (0, True), told


def test_device_chooses_the_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "_has_triton", lambda: False)
    assert kernels_for(torch.device("cpu")) is TORCH
    assert kernels_for(torch.device("cuda")) is TORCH
    assert kernels_for(torch.device("cuda"), "torch") is TORCH
    with pytest.raises(
        ModuleNotFoundError, match="`backend` is triton, which is not installed; pip install triton"
    ):
        kernels_for(torch.device("cuda"), "triton")


@needs_triton
def test_cuda_takes_triton_where_it_is_installed():
    assert kernels_for(torch.device("cpu")) is TORCH
    assert kernels_for(torch.device("cuda")).path_sums.__module__.endswith("triton_lattice")
