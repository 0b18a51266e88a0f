"""One writer a folder: refused in a sentence, and free again when the holder dies."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maya_train.errors import LaunchError
from maya_train.locks import only_writer

HOLDER = """
import sys, time
from pathlib import Path
from maya_train.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_writer_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LaunchError, match=f"{tmp_path} is being written by another run"):
            only_writer(tmp_path).__enter__()
        holder.send_signal(signal.SIGKILL)
    with only_writer(tmp_path):
        pass
