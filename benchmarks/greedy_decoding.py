"""Batched greedy transducer decoding against a loop over utterances, in one run.

    python benchmarks/greedy_decoding.py [--vocab 1025] [--batch 16] [--threads 1] [--device cpu]

Both decode the same batches with the same untrained head of common sizes (encoder 512, prediction network and
joint 640). Prints the median seconds (of CPU time on the CPU) of alternating runs and their ratio, and fails
if any token differs. An untrained head does not stop after a label, so it writes at most one a frame; the
bias of its blank is set such that about one frame in four has a label.
"""

import argparse
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table

from maya_encoder.decoding import decode
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig

WIDTH, REPEATS, SEED = 512, 5, 0
LABELS_A_FRAME = 0.25
FRAMES_A_SECOND = 12.5
BATCHES = {"10 s each": (10, 10), "2 to 20 s": (2, 20)}


@torch.inference_mode()
def utterance_by_utterance(head, encoder_out, lens):
    """What a reader would write first: one frame and one label at a time."""
    return [one(head, frames[:n]) for frames, n in zip(encoder_out, lens.tolist(), strict=True)]


def one(head, frames):
    tokens, t, here = [], 0, 0
    encoder_part = head.joint.enc(frames)
    output, history = head.prediction.start(1)
    label_part = head.joint.pred(output)[0]
    while t < len(frames):
        logits = head.joint(encoder_part[t], label_part)
        label = int(logits[: head.blank_id + 1].argmax())
        move = int(label == head.blank_id)
        if head.durations:
            move = max(move, head.durations[int(logits[head.blank_id + 1 :].argmax())])
        if label != head.blank_id:
            tokens.append(label)
            output, history = head.prediction.step(torch.tensor([label], device=frames.device), history)
            label_part = head.joint.pred(output)[0]
            here += 1
            move = max(move, int(here >= head.config.max_symbols))
        here = here if move == 0 else 0
        t += move
    return tokens


@torch.inference_mode()
def batched(head, encoder_out, lens):
    return [found.tokens for found in decode(head, encoder_out, lens)]


@torch.no_grad()
def make_head(config, vocab_size, encoder_out):
    head = config.build(in_dim=WIDTH, vocab_size=vocab_size).eval()
    output = head.joint.joint_net[2]
    output.weight.mul_(4)
    states, _ = head.prediction.start(1)
    logits = head.joint(head.joint.enc(encoder_out.flatten(0, 1)), head.joint.pred(states))
    lead = logits[:, : head.blank_id].amax(dim=1) - logits[:, head.blank_id]
    output.bias[head.blank_id] += lead.quantile(1 - LABELS_A_FRAME)
    return head


def seconds(call, device):
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    tokens = call()
    return clock() - started, tokens


def compare(head, encoder_out, lens):
    """Median seconds of the loop and of the batch, and the tokens."""
    spent = {utterance_by_utterance: [], batched: []}
    tokens = {}
    for _ in range(REPEATS):
        for way in spent:
            took, tokens[way] = seconds(lambda way=way: way(head, encoder_out, lens), encoder_out.device)
            spent[way].append(took)
    if tokens[batched] != tokens[utterance_by_utterance]:
        raise SystemExit("the two ways wrote different tokens")
    return *(statistics.median(times) for times in spent.values()), tokens[batched]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vocab", type=int, default=1025)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    table = Table(
        title=f"greedy decoding, batch {args.batch}, vocabulary {args.vocab}, {args.threads} thread(s)"
    )
    for column in ("head", "audio", "tokens", "loop, s", "batched, s", "ratio"):
        table.add_column(column)
    for name, config in (("RNNT", RNNTConfig(max_symbols=1)), ("TDT", TDTConfig(max_symbols=1))):
        for audio, (shortest, longest) in BATCHES.items():
            torch.manual_seed(SEED)
            lens = (torch.linspace(shortest, longest, args.batch) * FRAMES_A_SECOND).long()
            encoder_out = torch.randn(args.batch, int(lens.max()), WIDTH)
            head = make_head(config, args.vocab, encoder_out).to(device)
            loop, batch, tokens = compare(head, encoder_out.to(device), lens.to(device))
            count = sum(map(len, tokens))
            table.add_row(name, audio, str(count), f"{loop:.2f}", f"{batch:.2f}", f"{loop / batch:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
