"""A training step through a frozen LLM: logits at the text's positions, against the plain full-logits step.

    python benchmarks/llm_step.py                         # after `make test-gemma`, some minutes on two cores
    python benchmarks/llm_step.py --llm DIR --rounds 5    # any LLM's folder
    python benchmarks/llm_step.py --checkpoint            # our side with activation checkpointing

All sides have the same weights, input and projector. `plain` is the cross-entropy of all logits, shifted;
`labels` lets transformers do that. Each runs in processes of its own, in turns; the time is the best step,
the memory the peak of the process, weights included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY_LIMIT, TIME_LIMIT = 0.65, 0.6
FRAME_WIDTH = 512
SIDES = ("plain", "labels", "ours")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llm", default=os.environ.get("MAYA_GEMMA", "runs/gemma3_270m"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--audio", type=int, default=100, help="speech positions of a row")
    parser.add_argument("--text", type=int, default=20, help="text tokens of a row")
    parser.add_argument(
        "--steps", type=int, default=3, help="timed steps of a process, behind one that warms up"
    )
    parser.add_argument("--rounds", type=int, default=2, help="processes a side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--checkpoint", action="store_true", help="activation checkpointing, our side only")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One side: peak memory, the best step's time, and the loss of the first step, the same for both."""
    import torch
    from torch.nn import functional as F
    from transformers import AutoModelForCausalLM

    from maya_bridge.projectors import scaled_mlp
    from maya_bridge.prompt import IGNORED, PromptBatch
    from maya_bridge.recompute import enable_recompute
    from maya_bridge.target_loss import target_loss

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, arguments.dtype)
    llm = AutoModelForCausalLM.from_pretrained(arguments.llm, dtype=dtype).requires_grad_(False).eval()
    if arguments.checkpoint and arguments.side == "ours":
        enable_recompute(llm)
    embed = llm.get_input_embeddings()
    projector = scaled_mlp(FRAME_WIDTH, 1024, embed.weight.shape[1], 1.0).to(dtype)
    rows, length = arguments.batch, arguments.audio + arguments.text
    frames = torch.randn(rows, arguments.audio, FRAME_WIDTH, dtype=dtype)
    text = torch.randint(1000, len(embed.weight), (rows, arguments.text))
    mask, positions = torch.ones(rows, length, dtype=torch.long), torch.arange(length).expand(rows, -1)
    labels = torch.cat([torch.full((rows, arguments.audio), IGNORED), text], dim=1)

    def loss_of_step() -> torch.Tensor:
        batch = PromptBatch(torch.cat([projector(frames), embed(text)], dim=1), mask, positions, labels)
        if arguments.side == "ours":
            return target_loss(llm, batch) / text.numel()
        inputs = {"inputs_embeds": batch.inputs_embeds, "attention_mask": mask, "position_ids": positions}
        if arguments.side == "labels":
            return llm(**inputs, labels=labels, use_cache=False).loss  # type: ignore[no-any-return]
        logits = llm(**inputs, use_cache=False).logits[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED)

    return train(loss_of_step, torch.optim.AdamW(projector.parameters(), lr=1e-5), arguments.steps)


def train(loss_of_step: Callable[[], Any], optimizer: Any, steps: int) -> dict[str, Any]:
    """Train for one step and then some that are timed."""
    losses, walls, cpus = [], [], []
    for _ in range(1 + steps):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = loss_of_step()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"loss": losses[0], "wall": min(walls[1:]), "cpu": min(cpus[1:]), "peak": peak}


def main() -> None:
    arguments = parse()
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    if not (Path(arguments.llm) / "config.json").is_file():
        print(f"no LLM in {arguments.llm}: `make test-gemma` makes it, or name one with --llm")
        return
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", **os.environ}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side, results in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(out.splitlines()[-1]))
    best = {
        side: {key: min(result[key] for result in results) for key in ("wall", "cpu", "peak", "loss")}
        for side, results in found.items()
    }
    print(
        f"{arguments.llm}, frozen, {arguments.dtype}, {arguments.batch} x ({arguments.audio} audio +"
        f" {arguments.text} text), {arguments.threads} threads"
    )
    for side, numbers in best.items():
        print(
            f"  {side:6}  {numbers['wall']:6.2f} s  {numbers['cpu']:6.2f} CPU-s"
            f"  peak {numbers['peak']:5.2f} GiB  loss {numbers['loss']:.5f}"
        )
    for side in ("plain", "labels"):
        ratio = {key: best["ours"][key] / best[side][key] for key in ("wall", "cpu", "peak")}
        print(
            f"  ours / {side:6}  wall {ratio['wall']:.2f}, CPU time {ratio['cpu']:.2f} (limit {TIME_LIMIT}),"
            f" peak memory {ratio['peak']:.2f} (limit {MEMORY_LIMIT})"
        )


if __name__ == "__main__":
    main()
