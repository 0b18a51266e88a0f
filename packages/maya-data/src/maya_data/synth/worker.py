"""A process that makes shards, each in a fork of its own: eSpeak NG then starts fresh and repeats itself.

Units come as JSON lines on standard input; JSON lines go out: {"clip": 1}, {"error": text} and, at the end of
a unit, {"status": exit status}. It is started by `pool`; forking is safe because this process has one thread.
"""

import json
import os
import sys
from typing import Any

from maya_data.synth.corpus import from_job
from maya_data.synth.errors import SynthesisError
from maya_data.synth.shards import write_shard


def main() -> None:
    """Serve until standard input closes."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_make(line))
        _, status = os.waitpid(child, 0)
        _say(status=os.waitstatus_to_exitcode(status))


def _make(line: str) -> int:
    root, unit = from_job(line)
    try:
        write_shard(root, unit, report=lambda: _say(clip=1))
    except (SynthesisError, OSError) as error:
        _say(error=str(error))
        return 1
    return 0


def _say(**message: Any) -> None:
    os.write(1, (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
