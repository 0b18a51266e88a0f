"""Outputs of a frozen encoder, made once and kept for all stages and restarts: float16, by utterance id.

The values must not depend on when an utterance was met, or a resumed run would differ from a whole one. So
all of them are made before the first step, in batches that only the index decides, and kept in files.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from maya_data.loading.batch import Batch
from maya_encoder.checkpoint import system_errors

Encode = Callable[[Batch], tuple[Tensor, Tensor, Tensor | None]]
"""A batch to encoder_out (B, T, D), lengths (B,), CTC log-probabilities (B, T, V) or None."""

BATCHES_A_SHARD = 64


@dataclass(frozen=True)
class Kept:
    """One utterance: frames (T, D) and log-probabilities (T, V) or None, both float16."""

    frames: Tensor
    log_probs: Tensor | None


class EncoderCache:
    """Reads what `fill` has written."""

    def __init__(self, folder: Path) -> None:
        self._kept: dict[str, Kept] = {}
        for path in sorted(folder.glob("shard-*.safetensors")):
            self._kept.update(_read_shard(path))

    def __contains__(self, utt_id: object) -> bool:
        return utt_id in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, ids: Sequence[str], device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """encoder_out (B, T, D), encoder_out_lens (B,), ctc_log_probs (B, T, V) or None, in float32."""
        kept = [self._kept[utt_id] for utt_id in ids]
        lens = torch.tensor([len(item.frames) for item in kept], device=device)
        frames = pad_sequence([item.frames for item in kept], batch_first=True).to(device).float()
        rows = [item.log_probs for item in kept if item.log_probs is not None]
        log_probs = pad_sequence(rows, batch_first=True).to(device).float() if rows else None
        return frames, lens, log_probs


def fill(
    fabric: Fabric,
    folder: Path,
    batches: Sequence[Callable[[], Batch | None]],
    encode: Encode,
    say: Callable[[str], None] = lambda text: None,
) -> EncoderCache:
    """Encode all batches (each rank its share) into shards under `folder`; shards that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    num_shards = math.ceil(len(batches) / BATCHES_A_SHARD)
    for shard in range(fabric.global_rank, num_shards, fabric.world_size):
        path = folder / f"shard-{shard:05d}.safetensors"
        if not path.is_file():
            part = batches[shard * BATCHES_A_SHARD : (shard + 1) * BATCHES_A_SHARD]
            _write_shard(path, (load() for load in part), encode, fabric)
            say(f"encoder outputs: {shard + 1} of {num_shards} shards kept in {folder}")
    fabric.barrier()
    return EncoderCache(folder)


def key_of(model: nn.Module, *parts: object) -> str:
    """A short name for the outputs of `model` on some data: other weights or other data give another one."""
    found = hashlib.sha256(repr(parts).encode())
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


@torch.inference_mode()
def _write_shard(path: Path, batches: Iterator[Batch | None], encode: Encode, fabric: Fabric) -> None:
    tensors: dict[str, Tensor] = {}
    for batch in batches:
        if batch is None:
            continue
        frames, lens, log_probs = encode(batch.to(fabric.device))
        for row, (utt_id, length) in enumerate(zip(batch.ids, lens.tolist(), strict=True)):
            tensors[f"frames/{utt_id}"] = frames[row, :length].half().cpu().contiguous()
            if log_probs is not None:
                tensors[f"log_probs/{utt_id}"] = log_probs[row, :length].half().cpu().contiguous()
    part = path.with_suffix(".part")
    with system_errors(path):
        save_file(tensors, part)
    part.replace(path)


def _read_shard(path: Path) -> Iterator[tuple[str, Kept]]:
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        for name in sorted(name for name in names if name.startswith("frames/")):
            utt_id = name.removeprefix("frames/")
            other = f"log_probs/{utt_id}"
            yield utt_id, Kept(file.get_tensor(name), file.get_tensor(other) if other in names else None)
