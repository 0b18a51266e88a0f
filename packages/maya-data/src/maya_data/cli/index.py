"""`maya-data index`: one segment index over any number of sources."""

import argparse
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from maya_data.cli.command import command
from maya_data.cli.progress import progress

DEFAULT_READER = "final_export"


def add(commands: Any) -> None:
    """Add `maya-data index`."""
    parser = command(commands, "index", index)
    parser.add_argument("folder", nargs="?", metavar="ROOT", help="the same as --root")
    parser.add_argument("--root", help="folder or URI of the audio (default: MAYA_DATA)")
    parser.add_argument("--reader", help=f"name of a reader plugin (default: {DEFAULT_READER})")
    parser.add_argument("--config", metavar="SOURCES.yaml", help="several sources, each with its reader")
    parser.add_argument("--out", required=True, help="folder of the index")
    parser.add_argument("--langs", nargs="+", metavar="LANG", help="languages (default: all)")
    parser.add_argument(
        "--set", nargs="+", metavar="FIELD=VALUE", default=[], help="further fields of the reader, as YAML"
    )
    workers = parser.add_mutually_exclusive_group()
    workers.add_argument("--processes", type=int, default=0, help="0: as many as suit the machine")
    workers.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster, tcp://host:port")


def index(arguments: argparse.Namespace) -> None:
    """Index the audio of one source, or of all that a file lists; run it again to go on or to append."""
    from maya_data.indexing.build import build_index

    sources = _sources(arguments)
    with _workers(arguments.dask) as executor, progress("index") as tell:
        made = build_index(
            sources, arguments.out, executor=executor, processes=arguments.processes, progress=tell
        )
    print(f"{made.path}: {len(made):,} segments, {made.hours:,.2f} hours, languages: {', '.join(made.langs)}")
    _tell_losses(made.info)


def _tell_losses(info: dict[str, Any]) -> None:
    for reason, number in info["dropped"].items():
        print(f"left out {number:,} segments: {reason}", file=sys.stderr)
    for reason in info["broken"].values():
        print(f"left out shard {reason}", file=sys.stderr)
    for example in info["examples"]:
        print(f"kept, and flagged: {example}", file=sys.stderr)
    if info["flagged"]:
        told = ", ".join(f"{number:,} {meaning}" for meaning, number in info["flagged"].items())
        print(f"segments flagged in all: {told}", file=sys.stderr)


def _workers(address: str | None) -> AbstractContextManager[Any]:
    if address is None:
        return nullcontext()
    from maya_data.indexing.cluster import dask_executor

    return dask_executor(address)


def _sources(arguments: argparse.Namespace) -> list[Any]:
    from maya_data.indexing.sources import Source, read_sources

    alone = {
        "ROOT": arguments.folder,
        "--root": arguments.root,
        "--reader": arguments.reader,
        "--langs": arguments.langs,
        "--set": arguments.set,
    }
    if arguments.config:
        if given := [option for option, value in alone.items() if value]:
            raise ValueError(
                f"{given[0]} and --config exclude each other; {arguments.config} has the sources"
            )
        return list(read_sources(arguments.config))
    if arguments.root and arguments.folder:
        raise ValueError(f"ROOT and --root are the same; got {arguments.folder} and {arguments.root}")
    reader = arguments.reader or DEFAULT_READER
    settings = _fields(arguments.set)
    settings["root"] = arguments.root or arguments.folder or os.environ.get("MAYA_DATA")
    if arguments.langs:
        settings["langs"] = arguments.langs
    return [Source(name=reader, reader=reader, settings=settings)]


def _fields(given: list[str]) -> dict[str, Any]:
    """Read the fields of `--set`; a value is YAML, so that lists and mappings can be given."""
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped]

    for one in given:
        if not one.partition("=")[0] or "=" not in one:
            raise ValueError(f"`--set` must look like lang=hi, got {one}")
        try:
            OmegaConf.from_dotlist([one])
        except YAMLError as error:
            raise ValueError(f"`--set` must hold YAML, got {one}") from error
    fields: Any = OmegaConf.to_container(OmegaConf.from_dotlist(given))
    return dict(fields)
