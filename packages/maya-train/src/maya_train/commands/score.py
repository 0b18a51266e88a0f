"""`maya-train score`: how well a model and the transcripts agree, and the cleanest of each language."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maya_train.schema import RunConfig

DESCRIPTION = """Score what a stage could train on: CTC loss a token, character errors of greedy CTC. Write
the list of the cleanest part of each language. A stage with `select` does this by itself, on all its devices;
this is for looking first, or for a list that other stages read with data.keep. What is scored is kept.

    maya-train score stage=polish
    maya-train score stage=polish select.share=0.2 --out runs/clean.parquet
    maya-train stage=joint data.keep=runs/clean.parquet"""


def main(arguments: Sequence[str]) -> int:
    """Score, write the list, show what became of each language."""
    from maya_train.cli import split_arguments
    from maya_train.compose import compose
    from maya_train.preflight import check_out

    chosen, rest = options().parse_known_args(arguments)
    run = one_stage(compose(*split_arguments(rest)))
    out = chosen.out or Path(run.out_dir) / "keep.parquet"
    check_out(out)
    score(run, out)
    print(f"wrote {out} and {out.with_suffix('.json').name}; train on it with data.keep={out}")
    return 0


def options() -> argparse.ArgumentParser:
    """The command's own options; all else are keys of the run."""
    parser = argparse.ArgumentParser(
        prog="maya-train score", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the list (default: keep.parquet in the stage's folder)")
    return parser


def one_stage(runs: Sequence[RunConfig]) -> RunConfig:
    """The only stage of a command line, which names what is scored and by which model, as one process."""
    from maya_train.errors import ConfigError
    from maya_train.schema import SelectConfig
    from maya_train.strategies.single import Single

    if len(runs) != 1:
        names = ", ".join(run.stage for run in runs)
        raise ConfigError(f"score takes one stage at a time; add stage= with one of {names}")
    try:
        run = replace(runs[0], select=runs[0].select or SelectConfig())
    except ValueError as error:
        raise ConfigError(f"stage {runs[0].stage}: {error}") from None
    run.devices, run.num_nodes, run.strategy = 1, 1, Single()
    return run


def score(run: RunConfig, out: Path) -> None:
    """The pass on this machine's device."""
    from maya_train import launch
    from maya_train.scoring.selection import select
    from maya_train.stages import named

    settled = launch.resolve(run, os.environ)
    launch.check_devices(run, settled)
    fabric, _ = launch.make_fabric(run, settled)
    with named(run):
        select(fabric, run, out, say)


def say(text: str) -> None:
    """A line for whoever waits."""
    print(text, file=sys.stderr, flush=True)
