"""A training step through a frozen LLM: logits at the text's positions only, against the plain full-logits step.

    python benchmarks/llm_step.py                                # after `make test-gemma`, some minutes on two cores
    python benchmarks/llm_step.py --llm DIR --rounds 5           # any LLM's folder
    python benchmarks/llm_step.py --special-rows --checkpoint    # with what else our side can do

Both sides have the same weights, prompts and projector; the plain one calls the LLM with `labels`, as its own
documentation has it. Each runs in processes of its own, in turns; the time is the best step, the memory the peak
of the process, weights included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MEMORY_LIMIT, TIME_LIMIT = 0.65, 0.6
FRAME_WIDTH = 512


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llm", default=os.environ.get("MAYA_GEMMA", "runs/gemma3_270m"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--audio", type=int, default=100, help="speech positions of a row")
    parser.add_argument("--text", type=int, default=20, help="text tokens of a row, <eos> among them")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a process, behind one that warms up")
    parser.add_argument("--rounds", type=int, default=2, help="processes a side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--special-rows", action="store_true")
    parser.add_argument("--checkpoint", action="store_true", help="activation checkpointing, our side only")
    parser.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One side: peak memory, the best step's time, and the loss of the first step, the same for both."""
    import torch

    from maya_bridge.llm import LLMConfig, load_folder
    from maya_bridge.projectors import scaled_mlp
    from maya_bridge.prompt import Prompt, PromptConfig, Targets
    from maya_bridge.special_rows import rows_of
    from maya_bridge.target_loss import target_loss

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    ours = arguments.side == "ours"
    config = LLMConfig(
        path=arguments.llm,
        dtype=arguments.dtype,
        special_rows=arguments.special_rows,
        checkpoint_activations=arguments.checkpoint and ours,
    )
    llm, tokenizer = load_folder(arguments.llm, config)
    llm.requires_grad_(False).eval()
    embed = llm.get_input_embeddings()
    projector = scaled_mlp(FRAME_WIDTH, 1024, embed.weight.shape[1], 1.0).to(embed.weight.dtype)
    rows = rows_of(llm)
    trained = [*projector.parameters(), *([] if rows is None else rows.requires_grad_(True).parameters())]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    frames = torch.randn(arguments.batch, arguments.audio, FRAME_WIDTH, dtype=embed.weight.dtype)
    words = tokenizer.text_ids[torch.randint(len(tokenizer.text_ids), (arguments.batch, arguments.text - 1))]
    lens = torch.full((arguments.batch,), arguments.text - 1)
    targets = Targets(words, lens, words)
    speech_lens = torch.full((arguments.batch,), arguments.audio)
    prompt, langs = Prompt(PromptConfig(), tokenizer), ["hi"] * arguments.batch

    def loss_of_step() -> torch.Tensor:
        batch = prompt.build(embed, projector(frames), speech_lens, langs, targets)
        if ours:
            return target_loss(llm, batch) / (arguments.batch * arguments.text)
        inputs = {"inputs_embeds": batch.inputs_embeds, "attention_mask": batch.attention_mask}
        out = llm(**inputs, position_ids=batch.position_ids, labels=batch.labels, use_cache=False)
        return out.loss  # type: ignore[no-any-return]

    losses, walls, cpus = [], [], []
    for _ in range(1 + arguments.steps):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = loss_of_step()
        loss.backward()  # type: ignore[no-untyped-call]
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
    found: dict[str, list[dict[str, Any]]] = {"plain": [], "ours": []}
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
            f"  {side:5}  {numbers['wall']:6.2f} s  {numbers['cpu']:6.2f} CPU-s"
            f"  peak {numbers['peak']:5.2f} GiB  loss {numbers['loss']:.5f}"
        )
    ratio = {key: best["ours"][key] / best["plain"][key] for key in ("wall", "cpu", "peak")}
    print(
        f"  ratio  wall {ratio['wall']:.2f}, CPU time {ratio['cpu']:.2f} (limit {TIME_LIMIT}),"
        f" peak memory {ratio['peak']:.2f} (limit {MEMORY_LIMIT})"
    )


if __name__ == "__main__":
    main()
