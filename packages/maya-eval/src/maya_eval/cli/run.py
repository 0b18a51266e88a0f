"""`maya-eval run`: transcribes an index or a benchmark with any transcriber plugin."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the sub-command."""
    parser = commands.add_parser(
        "run", help="transcribe a benchmark or an index with a model; goes on where it was"
    )
    parser.add_argument("--model", required=True, metavar="PATH", help="what the transcriber opens")
    parser.add_argument(
        "--system",
        "--transcriber",
        dest="transcriber",
        default="maya-llm",
        metavar="NAME",
        help="a plugin of maya.transcribers, or module:Class (default: maya-llm)",
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of the transcriber: decode=ctc"
    )
    _add_source(parser)
    parser.add_argument(
        "--out", type=Path, metavar="HYPS.jsonl", help="default: runs/eval/<benchmark>/<system>.jsonl"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--warmup", type=int, metavar="N", help="batches before the clock counts (default: 1, on a CPU 0)"
    )
    parser.add_argument(
        "--clips", type=int, default=200, metavar="N", help="keep the sound of the N worst (default: 200)"
    )
    _add_sharing(parser)
    parser.set_defaults(command=_run)


def _add_sharing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several processes; torchrun's share a run by themselves")
    group.add_argument(
        "--shared", action="store_true", help="others do this run too, on any node that sees HYPS"
    )
    group.add_argument(
        "--dask", metavar="ADDRESS", help="on a Dask cluster: tcp://host:port, or local:4 for four processes"
    )
    group.add_argument(
        "--unit", type=int, metavar="N", help="utterances taken at a time (default: 4 batches)"
    )


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--benchmark", metavar="CFG", help="a YAML file, or the name of one in configs/benchmark: fleurs"
    )
    source.add_argument("--index", type=Path, metavar="DIR", help="made by `maya-data index`")
    parser.add_argument("--root", metavar="DIR", help="where the benchmark's data lie")
    parser.add_argument("--langs", metavar="hi,ta", help="only these languages of the benchmark")
    parser.add_argument("--subsets", metavar="A,B", help="only these sets of the benchmark")
    parser.add_argument("--configs", type=Path, metavar="DIR", help="another folder of configs")


def _run(options: argparse.Namespace) -> None:
    from maya_eval import harness
    from maya_eval.units import member

    config = harness.RunConfig(
        model=options.model,
        index=options.index,
        benchmark=options.benchmark,
        out=options.out or _default_out(options),
        transcriber=options.transcriber,
        options=_fields(options.set),
        device=options.device,
        batch_size=options.batch_size,
        warmup=options.warmup,
        root=options.root,
        langs=_names(options.langs),
        sets=_names(options.subsets),
        configs=options.configs,
        clips=options.clips,
        shared=options.dask is None and (options.shared or member().world > 1),
        dask=options.dask,
        unit=options.unit,
    )
    done = harness.run(config)
    if done.by_another:
        print(f"{done.new} utterances transcribed by this process; another one wrote {config.out}")
        return
    for reason in done.skipped:
        print(f"maya-eval: left out: {reason}", file=sys.stderr)
    if done.references:
        print(
            f"maya-eval: {len(done.skipped)} left out; "
            f"`maya-eval score {config.out} --refs {done.references}` asks for them",
            file=sys.stderr,
        )
    speed = f"real-time factor {done.rtf_text} (RTFx {done.rtfx_text})"
    print(f"{done.new} utterances transcribed, {done.kept} were there; {speed}")
    print(f"wrote {config.out}" + (f" and {done.clips} clips beside it" if done.clips else ""))


def _default_out(options: argparse.Namespace) -> Path:
    if options.benchmark is None:
        raise ValueError("--index needs --out HYPS.jsonl")
    chosen = [options.transcriber, Path(options.model).name, *options.set]
    name = re.sub(r"[^\w.=-]+", "-", "-".join(chosen)).strip("-.")
    return Path("runs") / "eval" / Path(options.benchmark).stem / f"{name}.jsonl"


def _names(value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _fields(pairs: Sequence[str]) -> dict[str, str]:
    fields = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name and sign):
            raise ValueError(f"--set takes FIELD=VALUE, got {pair!r}")
        fields[name] = value
    return fields
