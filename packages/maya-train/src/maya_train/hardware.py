"""What devices can do: dense bfloat16 arithmetic and memory, from their makers' data sheets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """One accelerator."""

    name: str
    peak: float
    """Floating-point operations a second, dense, in bfloat16."""
    memory: float
    """GiB."""


DEVICES = {
    device.name: device
    for device in (
        Device("b200", 2.25e15, 180),
        Device("h200", 9.89e14, 139),
        Device("h100 nvl", 8.35e14, 93),
        Device("h100 pcie", 7.56e14, 79),
        Device("h100", 9.89e14, 79),
        Device("a100", 3.12e14, 79),
        Device("l40s", 3.62e14, 44),
        Device("l4", 1.21e14, 22),
        Device("a10", 1.25e14, 22),
        Device("4090", 1.65e14, 23),
    )
}
"""By the part of torch's device name that tells them apart; longer names come first."""
FLOAT32_SHARE = 0.5
"""TF32 matrix products, which `32-true` may use on these devices, do half as much."""


def find_device(name: str) -> Device | None:
    """The device of a name as torch gives it (`NVIDIA H100 80GB HBM3`), or None where it is not known."""
    words = name.lower().replace("-", " ")
    return next((device for key, device in DEVICES.items() if _names(key, words)), None)


def _names(key: str, words: str) -> bool:
    return all(part in words.split() for part in key.split())


def peak_of(device_type: str, precision: str, name: str = "") -> float | None:
    """Operations a second that MFU is measured against; None where that is not known, as on a CPU."""
    if device_type != "cuda" or (device := find_device(name)) is None:
        return None
    return device.peak if precision.startswith("bf16") else device.peak * FLOAT32_SHARE
