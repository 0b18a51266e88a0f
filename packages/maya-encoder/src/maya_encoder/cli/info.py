"""`maya-encoder info`: what a checkpoint holds."""

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from maya_encoder.cli.arguments import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("info", help="tell what a checkpoint holds")
    parser.add_argument("path", metavar="PATH", help="a model folder, a .nemo archive, ...")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """A table of names and values."""
    from maya_encoder.interop.convert import describe  # here, so that `--help` is quick

    found = describe(options.path)
    if options.json:
        print(json.dumps(found, ensure_ascii=False, default=str))
        return 0
    rows = [(name, str(value)) for name, value in _flat(found)]
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:  # the extra `cli` is not installed
        width = max((len(name) for name, _ in rows), default=0)
        print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
        return 0
    table = Table(show_header=False, title=options.path)
    for name, value in rows:
        table.add_row(name, value)
    Console(markup=False, highlight=False).print(table)
    return 0


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value
