"""Arguments that several commands share."""

import argparse
import sys
import warnings
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from maya_encoder.acoustic_model import AcousticModel

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, with which front end, where, and for which language."""
    known = "a model folder, or what `maya-encoder info` knows"
    parser.add_argument("--model", required=True, metavar="PATH", help=known)
    parser.add_argument("--lang", help="language of the audio, such as hi; not every model needs one")
    parser.add_argument(
        "--frontend", choices=["modern", "legacy"], help="in place of what the checkpoint says"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")


def load_model(options: argparse.Namespace) -> "AcousticModel":
    """The model that those arguments name."""
    import torch  # here, so that `--help` is quick

    from maya_encoder.checkpoint import load

    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:  # torch has no one class for a device that is not there
        reason = str(error).splitlines()[0]
        raise ValueError(f"`--device` must be one that torch has, got {options.device!r}: {reason}") from None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = load(options.model, options.frontend, options.device)
    for warning in told:
        print(f"maya-encoder: note: {warning.message}", file=sys.stderr)
    return model
