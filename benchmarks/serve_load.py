"""Load on a server of its own: one client against many, no answer lost or mixed up, memory flat.

    python benchmarks/serve_load.py runs/demo/model runs/demo/samples [--decode greedy] [--clients 16]

Starts `maya-serve --no-page` on a free port. First each sample is sent alone, for its right answer; then one
client and the many clients take turns, each round with as many requests. At the end `--requests` requests of
all samples in random order go through the many clients, every answer is compared with the right one, and the
server's memory is read after each tenth. Samples are files named by their language, like `hi.wav`; `--takes`
makes more of each by shifting it. Fails if an answer is lost or another's, or memory grew by a tenth.
"""

import argparse
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

BOUNDARY = "maya-serve-load"
LOST, WRONG = "lost", "wrong"


def body(waveform, rate, lang, decode):
    """The bytes of a request."""
    sound = BytesIO()
    soundfile.write(sound, waveform, rate, format="WAV")
    fields = {"language": lang, "model": "maya", **({"decode": decode} if decode else {})}
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    parts += [f"{head}Content-Type: audio/wav\r\n\r\n".encode(), sound.getvalue(), b"\r\n"]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def bodies(folder, takes, decode):
    """Requests: every sample, and the same after some samples of silence."""
    found = []
    for path in sorted(folder.glob("*.wav")):
        waveform, rate = soundfile.read(path)
        for take in range(takes):
            shifted = np.concatenate([np.zeros(take * rate // 10), waveform])
            found.append((body(shifted, rate, path.stem, decode), len(shifted) / rate))
    return found


class Client:
    """One connection that is kept."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def ask(self, data):
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        self.connection.request("POST", "/v1/audio/transcriptions", data, kind)
        answer = self.connection.getresponse()
        told = json.loads(answer.read())
        return told["text"] if answer.status == 200 else f"{LOST} {answer.status} {told}"


def load(port, jobs, clients):
    """Send all jobs through as many clients: seconds, and the answers in the order of the jobs."""
    answers = [LOST] * len(jobs)
    left = iter(range(len(jobs)))
    lock = threading.Lock()

    def work():
        client = Client(port)
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            answers[number] = client.ask(jobs[number])

    threads = [threading.Thread(target=work) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, answers


def memory(port):
    """Megabytes that the server holds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[1]) / 2**20


def start(model, threads):
    """A server and its port."""
    command = [
        sys.executable,
        "-m",
        "maya_bridge.serving.cli",
        "--model",
        str(model),
        "--port",
        "0",
        "--no-page",
    ]
    command += ["--threads", str(threads)] if threads else []
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in server.stderr:
        if found := re.search(r"running on http://[\d.]+:(\d+)", line):
            threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
            return server, int(found[1])
    raise SystemExit("the server did not start")


def compare(port, samples, args):
    """Requests a second of one client and of many, by turns; the right answers."""
    jobs = [data for data, _ in samples]
    _, right = load(port, jobs, 1)
    speeds = {1: [], args.clients: []}
    for _ in range(args.rounds):
        for clients, seen in speeds.items():
            seconds, answers = load(port, jobs, clients)
            check(answers, right)
            seen.append(len(jobs) / seconds)
    return {clients: statistics.median(seen) for clients, seen in speeds.items()}, right


def check(answers, right):
    """Count what is wrong; nothing may be."""
    wrong = sum(one != other for one, other in zip(answers, right, strict=True))
    lost = sum(one.startswith(LOST) for one in answers)
    if wrong:
        raise SystemExit(f"{lost} answers lost, {wrong - lost} wrong, of {len(right)}")


def soak(port, samples, right, args):
    """Send many requests in random order; the server's memory after each tenth."""
    draw, seen = random.Random(0), []
    for _ in range(10):
        order = draw.choices(range(len(samples)), k=args.requests // 10)
        _, answers = load(port, [samples[n][0] for n in order], args.clients)
        check(answers, [right[n] for n in order])
        seen.append(memory(port))
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--decode", default="greedy")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    samples = bodies(args.samples, args.takes, args.decode)
    server, port = start(args.model, args.threads)
    try:
        speeds, right = compare(port, samples, args)
        grown = soak(port, samples, right, args) if args.requests else []
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.wait()
    seconds = statistics.mean(length for _, length in samples)
    table = Table(title=f"{args.decode}, {len(samples)} requests of {seconds:.1f} s, {len(set(right))} texts")
    for title in ("clients", "requests a second", "audio a second"):
        table.add_column(title)
    for clients, speed in speeds.items():
        table.add_row(str(clients), f"{speed:.1f}", f"{speed * seconds:.0f} s")
    console = Console()
    console.print(table)
    console.print(
        f"{args.clients} clients: {speeds[args.clients] / speeds[1]:.2f} times the throughput of one"
    )
    if grown:
        console.print(
            f"{args.requests} requests, all answered right; memory in MB: {[round(mb) for mb in grown]}",
            soft_wrap=True,
        )
        if grown[-1] > 1.1 * grown[1]:
            raise SystemExit("the server's memory grew")


if __name__ == "__main__":
    main()
