"""Floating-point operations of a training step, two for each multiply-add, by the sizes of the model.

Counted: matrix products, convolutions and attention of encoder, heads, projector and LLM on real frames and
tokens. Not counted: norms, activations, the front end, padding, and what is computed again to save memory,
as is usual for MFU. A module that learns costs three times its forward pass; a frozen one that a gradient has
to pass, twice; any other frozen one, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maya_train.model_size import LLMSize, ModelSize, model_size
from maya_train.schema import RunConfig

FEATURES_A_SECOND = 100
LEARNS, PASSED, FROZEN = 3.0, 2.0, 1.0
PROMPT_TOKENS = 6
"""Of the LLM's input, besides speech and text."""


@dataclass(frozen=True)
class Speech:
    """Sums over some utterances, from which every cost follows."""

    frames: float
    """Encoder frames."""
    square_frames: float
    """Sum of their squares, utterance by utterance."""
    cells: float
    """Sum of frames times (tokens + 1): the lattice of a transducer."""
    positions: float
    """What the LLM reads: speech, prompt and text."""
    square_positions: float
    text: float
    """Tokens that the LLM writes."""


@dataclass(frozen=True)
class FlopCounter:
    """The cost of a stage's steps."""

    cfg: RunConfig
    size: ModelSize = field(repr=False)
    factors: Mapping[str, float] = field(repr=False)
    """How often the forward pass of each module is paid for."""

    @classmethod
    def of(cls, cfg: RunConfig) -> "FlopCounter":
        """The counter of a stage."""
        return cls(cfg, model_size(cfg), passes(cfg))

    @property
    def frames_a_second(self) -> float:
        """Encoder frames of a second of audio."""
        return FEATURES_A_SECOND / getattr(self.cfg.encoder, "subsampling_factor", 8)

    @property
    def stride(self) -> float:
        """Encoder frames to a position that the LLM reads."""
        return float(getattr(self.cfg.projector, "stride", None) or 2)

    def step(self, durations: Sequence[float], num_tokens: float) -> float:
        """Operations of forward and backward over utterances of these seconds, with so many target tokens."""
        return sum(self.by_module(durations, num_tokens).values())

    def by_module(self, durations: Sequence[float], num_tokens: float) -> dict[str, float]:
        """The same by module."""
        forward = self.forward(self.speech(durations, num_tokens))
        return {name: self.factors.get(name, 0.0) * value for name, value in forward.items()}

    def speech(self, durations: Sequence[float], num_tokens: float) -> Speech:
        """What utterances come to; their tokens are taken to be spread as their seconds are."""
        seconds = sum(durations) or 1.0
        frames = [duration * self.frames_a_second for duration in durations]
        tokens = [num_tokens * duration / seconds for duration in durations]
        positions = [
            frame / self.stride + token + PROMPT_TOKENS for frame, token in zip(frames, tokens, strict=True)
        ]
        return Speech(
            frames=sum(frames),
            square_frames=sum(frame * frame for frame in frames),
            cells=sum(frame * (token + 1) for frame, token in zip(frames, tokens, strict=True)),
            positions=sum(positions),
            square_positions=sum(position * position for position in positions),
            text=num_tokens,
        )

    def forward(self, speech: Speech) -> dict[str, float]:
        """Operations of the forward pass by module."""
        found = {}
        if self.cfg.encoder is not None:
            found["encoder"] = encoder_flops(self.cfg, self.size, speech)
            found |= {name: self._head(name, speech) for name in self.cfg.heads}
        if "projector" in self.size.parameters:
            found["projector"] = 2.0 * self.size.parameters["projector"] * speech.frames / self.stride
        if self.size.llm is not None:
            found["llm"] = llm_flops(self.size.llm, speech)
        return found

    def _head(self, name: str, speech: Speech) -> float:
        head, per_frame = self.cfg.heads[name], 2.0 * self.size.parameters[name]
        joint = getattr(head, "joint_size", None)
        if joint is None:
            return per_frame * speech.frames
        width = getattr(self.cfg.encoder, "hidden_size", 0)
        width_of_joint = float(joint)
        return 2.0 * width_of_joint * (self.size.vocab_size * speech.cells + width * speech.frames)


def encoder_flops(cfg: RunConfig, size: ModelSize, speech: Speech) -> float:
    """Operations of a FastConformer; of another encoder, those of its weights on every frame."""
    encoder: Any = cfg.encoder
    if not all(hasattr(encoder, key) for key in ("num_layers", "ff_expansion", "conv_kernel")):
        return 2.0 * size.parameters["encoder"] * speech.frames
    width, layers = encoder.hidden_size, encoder.num_layers
    products = (4 * encoder.ff_expansion + 7) * width**2  # two feed-forward modules, attention, convolution
    per_frame = 2.0 * (products + encoder.conv_kernel * width) * layers + _subsampling(cfg)
    return float(per_frame * speech.frames + 8.0 * width * layers * speech.square_frames)


def _subsampling(cfg: RunConfig) -> float:
    """Operations of the strided convolutions for one frame."""
    channels, factor, mels = (
        cfg.encoder.subsampling_channels,
        cfg.encoder.subsampling_factor,
        cfg.frontend.num_mels,
    )
    depthwise = cfg.encoder.subsampling == "dw_striding"
    rows, bins = factor // 2, mels // 2
    found = 2.0 * 9 * channels * rows * bins
    while rows > 1:
        rows, bins = rows // 2, bins // 2
        each = 9 * channels + channels**2 if depthwise else 9 * channels**2
        found += 2.0 * each * rows * bins
    return float(found + 2.0 * channels * bins * cfg.encoder.hidden_size)


def llm_flops(llm: LLMSize, speech: Speech) -> float:
    """Operations of the decoder: layers on all positions, the output layer on those of the text."""
    attention = (
        2.0 * llm.num_layers * llm.num_heads * llm.head_dim * speech.square_positions
    )  # half is masked
    return (
        2.0 * llm.body * speech.positions + attention + 2.0 * llm.hidden_size * llm.vocab_size * speech.text
    )


def passes(cfg: RunConfig) -> dict[str, float]:
    """How often the forward pass of each module is paid for in a step of `cfg`."""
    trains = set(cfg.train)
    if cfg.task == "text_copy":
        return {"llm": LEARNS}
    if cfg.task == "acoustic":
        upstream = bool({"encoder", "language_prompt"} & trains)
        found = {"encoder": LEARNS if "encoder" in trains else float(not cfg.cache_encoder)}
        for name in cfg.heads:
            used = cfg.loss.get(name, 1.0) != 0 and (upstream or name in trains)
            found[name] = (LEARNS if name in trains else PASSED) if used else 0.0
        return found
    encoder = LEARNS if "encoder" in trains else float(not cfg.cache_encoder)
    upstream = "encoder" in trains
    found = {"encoder": encoder, "projector": LEARNS if "projector" in trains else FROZEN + upstream}
    llm = LEARNS if "llm" in trains and getattr(cfg.llm, "lora_rank", None) is None else PASSED
    heads = {"ctc": LEARNS} if "ctc" in trains else {}
    return {**found, **heads, "llm": llm}
