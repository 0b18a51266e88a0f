"""The chunked transducer loss against the plain one that holds the (B, T, U+1, V) tensor, in one run.

    python benchmarks/transducer_loss.py

Both take the same inputs, learn all parts, sum over alignments with the same vectorised lattice and run in
turn. Prints medians, the median of the ratios of neighbouring runs, how far the gradients are apart, and the
extra peak memory of one loss with its gradient in a process of its own. Works on the CPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maya_encoder.heads.lattice import Arcs, path_sums
from maya_encoder.heads.targets import Targets
from maya_encoder.heads.transducer_loss import transducer_loss

THREADS = 2


class Size(NamedTuple):
    batch: int = 4
    frames: int = 125
    tokens: int = 60
    vocab: int = 8193
    joint: int = 640

    @property
    def full_bytes(self) -> int:
        """One (B, T, U+1, V) tensor in single precision."""
        return 4 * self.batch * self.frames * (self.tokens + 1) * self.vocab


LARGE, SMALL = Size(), Size(16, 100, 40, 110, 256)


class Case(NamedTuple):
    parts: list[Tensor]
    """Encoder part, label part, weight, bias; all learn."""
    targets: Targets


def random_case(size: Size, shortest: float = 1.0) -> Case:
    """Lengths from `shortest` to 1 of the longest."""
    torch.manual_seed(0)
    share = torch.linspace(shortest, 1, size.batch)
    tokens = torch.randint(size.vocab - 1, (size.batch, size.tokens))
    targets = Targets((share * size.frames).round().long(), tokens, (share * size.tokens).round().long())
    shapes = [(size.batch, size.frames, size.joint), (size.batch, size.tokens + 1, size.joint)]
    parts = [torch.randn(shape) for shape in shapes]
    weight = torch.randn(size.vocab, size.joint) / size.joint**0.5
    return Case([x.requires_grad_() for x in (*parts, weight, torch.zeros(size.vocab))], targets)


def settled_case(size: Size) -> Case:
    """Logits that follow one alignment, as those of a trained model do."""
    case = random_case(size)
    codes = (torch.rand(size.vocab, size.joint) < 24 / size.joint).float()
    encoder_part, label_part = case.parts[0].detach().zero_(), case.parts[1].detach().zero_()
    encoder_part += codes[-1]
    written_at = torch.linspace(1, size.frames - 2, size.tokens).long()
    for row, tokens in enumerate(case.targets.tokens):
        encoder_part[row, written_at] = codes[tokens] + 0.5 * codes[-1]
        label_part[row, :-1] += 0.5 * codes[tokens]
    parts = (encoder_part, label_part, codes.mul_(0.6), case.parts[3].detach())
    return Case([x.requires_grad_() for x in parts], case.targets)


def ours(case: Case) -> Tensor:
    encoder_part, label_part, *output = case.parts
    return transducer_loss(encoder_part, label_part, (output[0], output[1]), *case.targets).sum()


def plain(case: Case) -> Tensor:
    """The textbook way; gradients by autograd, that of the lattice from its own backward pass."""
    encoder_part, label_part, weight, bias = case.parts
    hidden = torch.relu(encoder_part.unsqueeze(2) + label_part.unsqueeze(1))  # (B, T, U+1, J)
    log_probs = F.linear(hidden, weight, bias).log_softmax(dim=-1)  # (B, T, U+1, V)
    lens, tokens, token_lens = case.targets
    next_tokens = F.pad(tokens, (0, 1))[:, None, :, None].expand(-1, log_probs.size(1), -1, -1)
    blanks = torch.full_like(next_tokens, log_probs.size(-1) - 1)
    blank, label = log_probs.gather(-1, torch.cat([blanks, next_tokens], dim=-1)).unbind(-1)
    own = case.targets.own_cells(encoder_part.size(1))
    writes = own & (torch.arange(label_part.size(1)) < token_lens.view(-1, 1, 1))
    lattices = [x.detach().masked_fill(~mask, -torch.inf) for x, mask in ((blank, own), (label, writes))]
    nll, stay, move = path_sums(Arcs(*(x.unsqueeze(0) for x in lattices)), lens, token_lens)
    along = (stay[0] * blank).sum() + (move[0] * label).sum()  # its gradient is that of the loss
    return nll.sum() - (along - along.detach())


def step(loss: Callable[[Case], Tensor], case: Case) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(case), case.parts)


def compare(name: str, case: Case, repeats: int) -> list[str]:
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    found = {}
    for repeat in range(repeats + 1):
        for which, loss in (("ours", ours), ("plain", plain)):
            started = time.perf_counter()
            found[which] = step(loss, case)
            if repeat:  # the first run warms up
                seconds[which].append(time.perf_counter() - started)
    apart = max(float((a - b).norm() / b.norm()) for a, b in zip(found["ours"], found["plain"], strict=True))
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["plain"], strict=True)]
    medians = [f"{statistics.median(seconds[which]):.3f}" for which in ("ours", "plain")]
    return [name, *medians, f"{statistics.median(ratios):.2f}", f"{apart:.1e}"]


def peak_bytes() -> int:
    """Most memory that this process has had since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def forget_peak() -> int:
    """Memory in use now, from which the peak counts."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def print_extra_memory(which: str) -> None:
    """Bytes above inputs, weights and their gradients, at the peak of one loss with gradient."""
    loss = {"ours": ours, "plain": plain}[which]
    step(loss, random_case(SMALL))
    case = random_case(LARGE)
    before = forget_peak()
    step(loss, case)
    print(json.dumps(peak_bytes() - before - sum(4 * x.numel() for x in case.parts)))


def memory_row(which: str) -> list[str]:
    command = [sys.executable, __file__, "--memory", which]
    extra = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [which, f"{extra / 1e6:.0f} MB", f"{extra / LARGE.full_bytes:.3f}"]


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:
        print(title, *("\t".join(row) for row in [columns, *rows]), sep="\n")
        return
    table = Table(title=title)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side after the first")
    parser.add_argument("--memory", choices=["ours", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # or the plain one is ten times slower where alignments are settled
    torch.set_num_threads(THREADS)
    if options.memory:
        print_extra_memory(options.memory)
        return
    large = "B={} T={} U={} V={} joint {}".format(*LARGE)
    cases = [
        (large, random_case(LARGE), options.repeats),
        ("the same, lengths mixed 1:3", random_case(LARGE, 1 / 3), options.repeats),
        ("the same, settled alignments", settled_case(LARGE), options.repeats),
        ("B={} T={} U={} V={} joint {}".format(*SMALL), random_case(SMALL), 4 * options.repeats),
    ]
    rows = [compare(*case) for case in cases]
    columns = ["loss and gradient", "ours, s", "plain, s", "ours / plain", "gradients apart"]
    show(f"RNNT, single precision, CPU, {THREADS} threads", columns, rows)
    columns = ["extra peak memory", "", f"of one full tensor ({LARGE.full_bytes / 1e6:.0f} MB)"]
    show(large, columns, [memory_row("ours"), memory_row("plain")])


if __name__ == "__main__":
    main()
