"""How soon a stream shows its first text, what a step costs, and what streaming does to the text.

    python benchmarks/stream_latency.py --model runs/demo/model     # a minute or two on one core
    python benchmarks/stream_latency.py --model DIR --audio FOLDER --lang en --minutes 10

The samples beside the model (or clips of FOLDER, of one language) are streamed in frames of 100 ms as fast
as they are heard. Bar: the first partial text after at most 1 s of speech, counted from the first sample that
is no silence, and 0.3 s of compute. Then all clips follow one another for some minutes, with pauses of 1 s:
neither the cost of a step nor the audio that is held may grow. Compute is wall time, so a busy machine shows
more of it. WER compares the finished segments with what the same head hears in the whole clips.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a busy machine, spinning threads time each other
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

from maya_bridge.any_model import open_model
from maya_bridge.streaming import Delta, Done, StreamSession
from maya_encoder.audio import load_audio

RATE, FRAME = 16000, 1600
BAR_AUDIO, BAR_COMPUTE = 1.0, 0.3


def pushed(session, audio):
    """Give for each frame its end in seconds, the seconds of compute, and the events."""
    for at in range(0, len(audio), FRAME):
        began = time.perf_counter()
        events = session.push(audio[at : at + FRAME])
        yield (at + FRAME) / RATE, time.perf_counter() - began, events
    began = time.perf_counter()
    events = session.finish()
    yield len(audio) / RATE, time.perf_counter() - began, events


def first_partial(model, lang, head, audio):
    """Seconds of speech and of compute until the first text, or None."""
    speech = int(np.argmax(np.abs(audio) > 0.02 * np.abs(audio).max())) / RATE
    compute = 0.0
    for end, seconds, events in pushed(StreamSession(model, lang, head), audio):
        compute += seconds
        if any(isinstance(event, Delta) and event.text for event in events):
            return end - speech, compute
    return None


def errors(truth: str, text: str) -> tuple[int, int]:
    return Levenshtein.distance(truth.split(), text.split()), len(truth.split())


def long_stream(model, lang, head, clips, minutes):
    """Cost of the steps in the first and in the last minute, audio held, and errors against whole clips."""
    session = StreamSession(model, lang, head)
    pause, steps, texts, held, truth = np.zeros(RATE, dtype=np.float32), [], [], 0.0, []
    heard = [one.text for one in model.transcribe(clips, lang, decode=head)]
    number = 0
    while session.seconds < minutes * 60:
        for _, seconds, events in list(pushed(_Open(session), np.r_[clips[number % len(clips)], pause])):
            if seconds > 0.002:  # less is a frame that only waits
                steps.append(seconds)
            texts += [event.heard for event in events if isinstance(event, Done)]
            held = max(held, session.buffered)
        truth.append(heard[number % len(clips)])
        number += 1
    texts += [event.heard for event in session.finish() if isinstance(event, Done)]
    return steps, held, errors(" ".join(truth), " ".join(texts)), session.seconds


class _Open:
    """A session that goes on after the audio of `pushed`."""

    def __init__(self, session):
        self.push, self.finish = session.push, list


def clips_of(args, model):
    if args.audio is None:
        folder = args.model.parent / "samples"
        return {
            path.stem: [load_audio(path)] for path in sorted(folder.glob("*.wav")) if path.stem in model.langs
        }
    found = sorted(p for p in args.audio.rglob("*") if p.suffix in (".wav", ".flac", ".ogg", ".mp3"))
    return {args.lang: [load_audio(path) for path in found[:30]]}


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--audio", type=Path, help="folder of clips; default: the samples beside the model")
    parser.add_argument("--lang", default="en", help="language of the folder")
    parser.add_argument("--head", default="ctc")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the long stream of a language")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def long_streams(model, args, clips):
    """Print what a long stream of each language costs, and the WER of all of them."""
    wrong = words = 0
    for lang, some in clips.items():
        costs, held, (edits, count), seconds = long_stream(model, lang, args.head, some, args.minutes)
        wrong, words = wrong + edits, words + count
        third = len(costs) // 3
        early, late = (statistics.median(part) for part in (costs[:third], costs[-third:]))
        print(
            f"{lang}: {seconds:.0f} s, a step {early * 1000:.0f} ms at first, {late * 1000:.0f} ms at last, "
            f"worst {max(costs) * 1000:.0f} ms; {sum(costs) / seconds:.2f} of real time; held {held:.1f} s"
        )
    print(f"WER of the streamed text against the same head on whole clips: {100 * wrong / words:.1f} %")


def main() -> int:
    args = parse()
    torch.set_num_threads(args.threads)
    model = open_model(args.model)
    clips = clips_of(args, model)
    for lang, of_lang in clips.items():  # warm up
        model.transcribe(of_lang[:1], lang, decode=args.head)
    firsts = [
        found
        for lang, some in clips.items()
        for clip in some
        if (found := first_partial(model, lang, args.head, clip))
    ]
    audio, compute = (sorted(values) for values in zip(*firsts, strict=True))
    total = sum(map(len, clips.values()))
    print(f"first partial text of {len(firsts)} of {total} clips, head {args.head}, {args.threads} thread(s)")
    print(f"  speech   median {statistics.median(audio):.2f} s   worst {audio[-1]:.2f} s   bar {BAR_AUDIO} s")
    print(
        f"  compute median {statistics.median(compute):.3f} s   worst {compute[-1]:.3f} s   bar {BAR_COMPUTE}"
    )
    long_streams(model, args, clips)
    reached = len(firsts) == total and audio[-1] <= BAR_AUDIO and compute[-1] <= BAR_COMPUTE
    print("bar reached" if reached else "bar missed")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
