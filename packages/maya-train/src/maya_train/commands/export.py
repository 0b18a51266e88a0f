"""`maya-train export`: a trained model as others open it, with a model card."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """Write a trained model with a generated model card (README.md), whole or not at all.

    maya-train export runs/demo --to hf --lang hi       # encoder + head, opened by transformers' AutoModel...
    maya-train export runs/demo --to onnx --lang hi     # encoder + CTC, opened by onnxruntime and onnx-asr
    maya-train export runs/demo --to safetensors        # everything that transcribes, no training state

DIR is a run, a stage of one, a model folder, or a checkpoint that maya_encoder opens. Scores are taken from
scores/*.json or hyps/*.jsonl of the run, hours from its index, unless they are given here. A folder that
holds anything but an unchanged export of ours is never replaced."""


def main(arguments: Sequence[str]) -> int:
    """Export, and say what was written."""
    chosen = options().parse_args(arguments)
    from maya_train.publish.export import export
    from maya_train.publish.request import Request

    given = {name: value for name, value in vars(chosen).items() if value is not None}
    for name in ("scores", "languages"):
        given[name] = tuple(given.get(name) or ())
    print(
        export(
            Request(
                **{
                    field.name: given[field.name]
                    for field in dataclasses.fields(Request)
                    if field.name in given
                }
            )
        )
    )
    return 0


def options() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="maya-train export",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="DIR", help="a run, a stage, a model or a checkpoint")
    parser.add_argument("--to", dest="kind", required=True, metavar="hf|onnx|safetensors", help="the format")
    parser.add_argument("--out", type=Path, help="the folder to write (default: DIR/export/<format>)")
    parser.add_argument(
        "--lang", help="the one language to write for, where the format has no place for several"
    )
    parser.add_argument("--head", help="hf: which head (default: ctc where there is one)")
    parser.add_argument("--name", help="what the model is called (default: the run's name)")
    parser.add_argument(
        "--license", dest="licence", metavar="ID", help="such as apache-2.0 (default: to be decided)"
    )
    parser.add_argument(
        "--scores", type=Path, nargs="+", metavar="FILE", help="of `maya-eval score --json`, or hypotheses"
    )
    parser.add_argument("--profile", help="of hypotheses (default: indic-strict-v1)")
    parser.add_argument("--test-set", help="what the scores were measured on")
    parser.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="training index, or its `maya-data stats --json` (default: the run's)",
    )
    parser.add_argument(
        "--languages", nargs="+", metavar="LANG", help="of a checkpoint that names none itself"
    )
    return parser
