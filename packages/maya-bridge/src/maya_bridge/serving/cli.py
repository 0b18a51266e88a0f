"""`maya-serve`: a model folder behind OpenAI's transcription API."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maya_bridge.serving.settings import ServeSettings

KEY_VARIABLE = "MAYA_API_KEY"
EXTRA = "maya-serve needs the extra `serve`: pip install 'maya-bridge[serve,page]'"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(
        prog="maya-serve",
        description="Serve a model as OpenAI's /v1/audio/transcriptions, with a page for people at /.",
        allow_abbrev=False,
        epilog=f"An API key comes from --api-key-file or the environment variable {KEY_VARIABLE}.",
    )
    add = result.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="a saved model folder")
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for all of this machine's")
    add("--port", type=int, default=8000, help="port to listen at; 0 for any that is free")
    add("--device", default="cpu", help="torch device")
    add("--int8", action="store_true", help="quantise the model's linear layers, on the CPU")
    add("--threads", type=int, help="threads of the model on the CPU")
    add("--api-key-file", type=Path, metavar="FILE", help="a file that holds the API key")
    add("--model-name", help="id of the model in /v1/models")
    add("--max-upload-mb", type=float, help="megabytes of a request")
    add("--max-seconds", type=float, help="seconds of audio of a request")
    add("--max-requests", type=int, help="requests that are received, waiting or decoded at a time")
    add("--max-waiting-seconds", type=float, help="seconds of audio of all of them")
    add("--max-batch", type=int, help="pieces of audio decoded together")
    add("--max-batch-seconds", type=float, help="seconds of audio decoded together, with padding")
    add("--timeout", type=float, help="seconds to answer a request")
    add("--no-page", dest="page", action="store_false", help="no page at /, and a faster start")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it; errors of the user are one line, exit status 2."""
    args = parser().parse_args(argv)
    try:
        from maya_bridge.serving.running import serve
    except ImportError as error:
        print(f"{EXTRA} ({error.name} is missing)", file=sys.stderr)
        return 2
    try:
        asyncio.run(serve(args, settings(args)))
    except (ValueError, LookupError, OSError) as error:
        print(f"maya-serve: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def settings(args: argparse.Namespace) -> "ServeSettings":
    """Return the settings that the command line and the environment give."""
    from maya_bridge.serving.settings import ServeSettings

    given: dict[str, Any] = {
        one.name: getattr(args, one.name)
        for one in fields(ServeSettings)
        if getattr(args, one.name, None) is not None
    }
    if (key := api_key(args.api_key_file)) is not None:
        given["api_key"] = key
    return ServeSettings(**given)


def api_key(file: Path | None) -> str | None:
    """Return the key of a file, else of the environment, else None."""
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    key = file.read_text(encoding="utf-8").strip()
    if not key:
        raise ValueError(f"`--api-key-file` must hold a key, and {file} is empty")
    return key


if __name__ == "__main__":
    sys.exit(main())
