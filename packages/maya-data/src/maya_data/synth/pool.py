"""Worker processes that share the units of a plan; a thread here serves each."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from maya_data.synth.corpus import Unit, to_job
from maya_data.synth.errors import SynthesisError

Progress = Callable[[int, int, str], None]
Worker = subprocess.Popen[str]


def make(
    root: Path, units: Sequence[Unit], *, processes: int, progress: Progress | None, done: int = 0
) -> None:
    """Make every unit; the first failure (or Ctrl-C) ends all workers and is raised.

    Args:
        root: Folder of the corpus.
        units: What is still to be made.
        processes: Workers at a time.
        progress: Called with clips done, clips in all and the shard at work, from one thread at a time.
        done: Clips that were there before.
    """
    if processes < 1:
        raise SynthesisError(f"`processes` must be 1 or more, got {processes}")
    counter = _Counter(done, done + sum(len(unit.utterances) for unit in units), progress)
    waiting: queue.SimpleQueue[Unit] = queue.SimpleQueue()
    for unit in units:
        waiting.put(unit)
    with ExitStack() as stack, ThreadPoolExecutor(processes) as threads:
        workers = [stack.enter_context(_start()) for _ in range(min(processes, len(units)))]
        runs = [threads.submit(_serve, worker, root, waiting, counter) for worker in workers]
        try:
            for run in as_completed(runs):
                run.result()
        except BaseException:
            for worker in workers:
                _kill(worker)
            raise


class _Counter:
    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress, self._lock = done, total, progress, threading.Lock()

    def add(self, what: str) -> None:
        with self._lock:
            self._done += 1
            if self._progress:
                self._progress(self._done, self._total, what)


def _start() -> Worker:
    command = [sys.executable, "-m", "maya_data.synth.worker"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def _kill(worker: Worker) -> None:
    """End the worker and its fork; both are in the session that the worker leads."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)


def _serve(worker: Worker, root: Path, waiting: "queue.SimpleQueue[Unit]", counter: _Counter) -> None:
    while True:
        try:
            unit = waiting.get_nowait()
        except queue.Empty:
            return
        _ask(worker, root, unit, counter)


def _ask(worker: Worker, root: Path, unit: Unit, counter: _Counter) -> None:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(to_job(root, unit) + "\n")
    worker.stdin.flush()
    error = None
    for line in worker.stdout:
        message = json.loads(line)
        if "clip" in message:
            counter.add(unit.folder)
        error = message.get("error", error)
        if message.get("status") == 0:
            return
        if "status" in message:
            raise SynthesisError(error or f"synthesis of {unit.folder} ended with status {message['status']}")
    raise SynthesisError(f"the worker that made {unit.folder} is gone")
