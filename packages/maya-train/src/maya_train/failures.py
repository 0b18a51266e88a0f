"""How a run that goes wrong ends: one sentence from one of its processes, and an exit status."""

import re
import sys

import torch.distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from maya_data.audio.fetch import CorruptAudio
from maya_data.loading.quarantine import TooManyBadSegments
from maya_encoder.checkpoint import BadCheckpoint
from maya_encoder.plugins import UnknownPlugin
from maya_encoder.tokenizer import BadTokenizer
from maya_train.checkpoints import BrokenCheckpoint
from maya_train.errors import FIRST_FAILURE, NO_ROOM, ConfigError, LaunchError
from maya_train.faults.desync import Desync
from maya_train.faults.memory import is_out_of_memory
from maya_train.faults.skips import Diverged

WRONG_INPUT = (ConfigError, LaunchError, UnknownPlugin, BadCheckpoint, BadTokenizer, BrokenCheckpoint)
FAILED = (Diverged, Desync, TooManyBadSegments, CorruptAudio)
BETWEEN = (
    (
        re.compile(r"timed? ?out", re.IGNORECASE),
        "a process has waited for another one in vain; the same command goes on from the last saved state",
    ),
    (
        re.compile(r"gloo|NCCL|closed by peer|reset by peer", re.IGNORECASE),
        "another process of this run has left without a word; the same command goes on from there",
    ),
)
"""Signs in the words of a process group, and what they mean."""


def report(error: BaseException) -> int | None:
    """Print what went wrong, if no other process has; the exit status, or None for a mistake of the program.

    The first process that fails says why. The others, which fail for the same reason or because it has left,
    are quiet and take over its status.
    """
    sentence, status = explain(error)
    first = _first_failure(status)
    if first is not None:
        return first
    if not sentence:
        return None
    print(sentence, file=sys.stderr, flush=True)
    return status


def explain(error: BaseException) -> tuple[str, int]:
    """One sentence, or none for what only a traceback can explain, and the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; what is finished is kept, the same command goes on from there", 130
    return _sentence(error), 2 if isinstance(error, WRONG_INPUT) else 1


def _sentence(error: BaseException) -> str:
    said = one_line(error)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return f"no room on the disk: {said}; what is finished is kept, make room and go on"
    if isinstance(error, (*WRONG_INPUT, *FAILED, OSError)):
        return said
    if is_out_of_memory(error):
        return f"out of memory: {said}; run `maya-train calibrate`, or choose a strategy that shards"
    if isinstance(error, RuntimeError) and dist.is_initialized():
        return next((sentence for sign, sentence in BETWEEN if sign.search(str(error))), "")
    return ""


def one_line(error: BaseException) -> str:
    """The message; of one that came from a loader's process, only what was said there."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if text.startswith("Caught "):  # torch puts the worker's traceback in front
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


def _first_failure(status: int) -> int | None:
    """None where no other process of the run has failed yet, else the status of the first that did."""
    if not dist.is_initialized():
        return None
    own = f"{dist.get_rank()} {status}"
    try:
        first = _get_default_store().compare_set(FIRST_FAILURE, "", own).decode()
    except RuntimeError:  # the process that kept the store has left: it was the first
        return 1
    return None if first == own else int(first.split()[1])
