"""Commands of the site that do not end by themselves, or need a package of the examples."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def line_of(page: str, start: str) -> str:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return next(line for line in text.splitlines() if line.startswith(start))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_server_of_the_quick_start_answers_its_request(quick_demo, start):
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve, curl = (line_of("index.md", name).replace("8000", port) for name in ("maya-serve", "curl"))
    server = start(str(Path(sys.executable).parent / "maya-serve"), *shlex.split(serve)[1:])
    for _ in range(240):
        done = subprocess.run(
            shlex.split(curl), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 0 or server.poll() is not None:
            break
        time.sleep(0.5)
    assert json.loads(done.stdout)["text"].strip()
    server.terminate()
    assert server.wait(30) == 0


@pytest.mark.long
def test_the_projector_of_the_plugin_page_trains_by_its_name(quick_demo, run, tmp_path):
    pytest.importorskip("hatchling")
    package = shutil.copytree(ROOT / "examples/write_a_projector", tmp_path / "package")
    site = str(tmp_path / "site")
    install = shlex.split(line_of("plugins.md", "python -m pip install"))[1:]
    done = run(sys.executable, *install, cwd=package, env={"PIP_TARGET": site, "PIP_NO_INDEX": "1"})
    assert done.returncode == 0, done.stderr
    command = line_of("plugins.md", "maya-train recipe=")
    out = re.search(r"out_dir=(runs/\w+)", command)[1]
    shutil.rmtree(ROOT / out, ignore_errors=True)
    done = run(*shlex.split(command), env={"PYTHONPATH": site})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "name: pair_gate" in (ROOT / out / "config.yaml").read_text("utf-8")
