"""Memory of a training process: weights, gradients and moments under each strategy, and activations.

States follow from the number formats. Activations are a count of what the backward pass needs, layer by
layer; `maya-train calibrate` measures them.
"""

from dataclasses import dataclass

from maya_train.flops import FlopCounter
from maya_train.schema import RunConfig

GIB = 2.0**30
STRATEGIES = ("ddp", "fsdp", "zero-1", "zero-2", "zero-3")
LATTICE_VALUES = 64e6
"""Logits and hidden values that the transducer's loss keeps at once on a GPU."""
LOGIT_VALUES = 64e6
"""Of the LLM's output layer, likewise."""
COPIES = 3
"""Of logits: themselves, their softmax, their gradient."""


@dataclass(frozen=True)
class Formats:
    """Bytes of a weight, of a gradient, of both moments, and of an activation."""

    weight: int
    gradient: int
    moments: int
    activation: int


FORMATS = {
    "32-true": Formats(4, 4, 8, 4),
    "bf16-mixed": Formats(4, 4, 8, 2),
    "bf16-true": Formats(2, 2, 4, 2),
    "64-true": Formats(8, 8, 16, 8),
}
MASTER = 4
"""Bytes of a master weight, which DeepSpeed keeps beside one of two bytes."""


def state_gib(counter: FlopCounter, strategy: str, world_size: int, precision: str) -> float:
    """GiB of weights, gradients and moments in one of `world_size` processes."""
    bytes_of = FORMATS[precision]
    total, trained = float(counter.size.total), float(trained_weights(counter))
    learning = trained * (bytes_of.gradient + bytes_of.moments)
    if strategy in ("single", "ddp"):
        return (total * bytes_of.weight + learning) / GIB
    gathered = 2 * largest_layer(counter) * 2
    if strategy == "fsdp":
        return ((total * bytes_of.weight + learning) / world_size + gathered) / GIB
    moments = trained * (MASTER + 8) / world_size
    gradients = trained * 2 / (1 if strategy == "zero-1" else world_size)
    if strategy == "zero-3":
        return (total * 2 / world_size + gradients + moments + gathered) / GIB
    return (total * 2 + gradients + moments) / GIB


def trained_weights(counter: FlopCounter) -> int:
    """Weights that learn; of an LLM with LoRA, those of LoRA."""
    trained, llm, rank = counter.size.trained(counter.cfg), counter.size.llm, _lora_rank(counter.cfg)
    if llm is None or rank is None or "llm" not in counter.cfg.train:
        return trained
    inner, kv = llm.num_heads * llm.head_dim, llm.num_kv_heads * llm.head_dim
    sides = 2 * (llm.hidden_size + inner) + 2 * (llm.hidden_size + kv) + 3 * (llm.hidden_size + llm.ff_size)
    return trained - llm.parameters + rank * sides * llm.num_layers


def largest_layer(counter: FlopCounter) -> float:
    """Weights that are gathered at once where they are sharded."""
    encoder, llm = counter.size.parameters.get("encoder", 0), counter.size.llm
    each = encoder / max(1, getattr(counter.cfg.encoder, "num_layers", 1))
    return max(each, 0 if llm is None else llm.vocab_size * llm.hidden_size)


def activation_gib(counter: FlopCounter, precision: str, longest: float, tokens_a_second: float) -> float:
    """GiB that the backward pass needs of a batch of utterances of `longest` seconds."""
    cfg, size = counter.cfg, FORMATS[precision].activation
    number = max(1.0, cfg.data.batch_duration // longest)
    frames = longest * counter.frames_a_second
    tokens = longest * tokens_a_second
    found = 0.0
    if cfg.encoder is not None and not cfg.cache_encoder:
        found += size * number * _encoder_values(cfg, frames)
    if cfg.task == "acoustic":
        found += 4 * COPIES * number * frames * counter.size.vocab_size * ("ctc" in cfg.heads)
        found += 4 * COPIES * LATTICE_VALUES * any(name != "ctc" for name in cfg.heads)
    if counter.size.llm is not None:
        positions = number * (frames / counter.stride + tokens)
        found += size * positions * _llm_values(counter)
        found += 4 * COPIES * min(LOGIT_VALUES, number * tokens * counter.size.llm.vocab_size)
    return found / GIB


def _encoder_values(cfg: RunConfig, frames: float) -> float:
    """Values that one utterance leaves for the backward pass."""
    encoder = cfg.encoder
    width, layers = getattr(encoder, "hidden_size", 512), getattr(encoder, "num_layers", 1)
    feed_forward = 2 * (3 + 2 * getattr(encoder, "ff_expansion", 4))
    a_layer = frames * ((feed_forward + 15) * width + 3 * getattr(encoder, "num_heads", 8) * frames)
    if "encoder" not in cfg.train:
        return a_layer
    subsampled = 3 * getattr(encoder, "subsampling_channels", 256) * cfg.frontend.num_mels * frames
    if getattr(encoder, "activation_checkpointing", False):
        return layers * width * frames + a_layer + subsampled
    return layers * a_layer + subsampled


def _llm_values(counter: FlopCounter) -> float:
    """Values that one position leaves for the backward pass."""
    llm = counter.size.llm
    assert llm is not None
    a_layer = 6 * llm.hidden_size + 3 * llm.num_heads * llm.head_dim + 3 * llm.ff_size
    if getattr(counter.cfg.llm, "checkpoint_activations", False):
        return float(llm.num_layers * llm.hidden_size + a_layer)
    return float(llm.num_layers * a_layer)


def _lora_rank(cfg: RunConfig) -> int | None:
    return getattr(cfg.llm, "lora_rank", None)
