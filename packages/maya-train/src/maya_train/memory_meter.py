"""Peak memory of what was done since the last look: of the GPU's allocator, or of this process."""

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
GIB = 2.0**30


class MemoryMeter:
    """Peak bytes between `reset` and `peak`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> None:
        """Give back what can be given back, and begin a new peak."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        with contextlib.suppress(OSError):
            CLEAR.write_text("5", encoding="ascii")  # the kernel's own way to begin a new peak

    def peak(self) -> float:
        """Bytes."""
        if self.device.type == "cuda":
            return float(torch.cuda.max_memory_reserved(self.device))
        try:
            lines = STATUS.read_text(encoding="ascii").splitlines()
            return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            unit = 1 if sys.platform == "darwin" else 1024
            return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def memory_gib(device: torch.device) -> float:
    """Memory of the device, or of this machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / GIB
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
