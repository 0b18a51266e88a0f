"""RunConfig: everything one stage of training can be told. The string under a field is its help.

Plugin slots and the sections of other packages are typed `Any` here; `compose` puts the chosen dataclass in
their place before anything is merged, so that every key is checked.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from maya_train.data_config import DataConfig as DataConfig
from maya_train.limits import at_least as _at_least
from maya_train.limits import within as _within
from maya_train.module_names import LANGUAGE_PROMPT, check_names, head_losses

Precision = Literal["32-true", "bf16-mixed", "bf16-true", "64-true"]

SLOTS = {"reader": "readers", "encoder": "encoders", "projector": "projectors", "strategy": "strategies"}
"""Root key -> kind of plugin that lives there. `heads` holds one plugin of kind `heads` a name."""

SECTIONS = {
    "llm": "maya_bridge.llm:LLMConfig",
    "prompt": "maya_bridge.prompt:PromptConfig",
    "data.mix": "maya_data.planning.mix:MixConfig",
    "data.noise": "maya_data.audio.augment:NoiseConfig",
}
"""Key -> the dataclass of another package that is laid there (imported only when a run is composed)."""

LOGGERS = ("csv", "tensorboard", "wandb")
"""What `loggers` may name."""

LATER_KEYS = {
    "average": None,
    "data.shuffle": "full",
    "data.speeds": [1.0],
    "data.num_buckets": None,
    "data.buckets_file": None,
    "data.max_chars_per_second": None,
    "data.corpora": None,
    "data.quarantine": None,
}
"""Keys that came after the first release, with the values that mean what was done before: at these they are
no part of a run's identity, so that a stage that was finished stays finished."""

UNUSED: dict[str, tuple[str, ...]] = {
    "acoustic": ("projector", "llm", "prompt", "corruption"),
    "text_copy": ("encoder", "language_prompt", "projector"),
    "speech_llm": (),
}
"""Task -> keys that it never reads: emptied after checking, so that they cannot change a stage's digest."""


@dataclass(kw_only=True)
class LanguagePromptConfig:
    """The language as an input behind the encoder; the arguments of `maya_encoder.language_prompt`."""

    num_prompts: int = 128
    """Length of the one-hot vector; places beyond the languages in use are room to grow."""
    lang_prompts: dict[str, int] | None = None
    """Place of each language in it; null: its place in `langs`."""


@dataclass(kw_only=True)
class OptimConfig:
    """AdamW and its learning-rate schedule; the peak rates are in `lr`."""

    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's two moments."""
    weight_decay: float = 0.01
    """Decoupled weight decay; norms, biases and embeddings get none."""
    warmup_steps: int = 0
    """Steps of linear warm-up from 0."""
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    """Shape after the warm-up; wsd keeps the peak and decays over the last tenth."""
    min_lr_ratio: float = 0.02
    """Last rate as a fraction of the peak."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _at_least("warmup_steps", self.warmup_steps, 0)
        _within("min_lr_ratio", self.min_lr_ratio, 0.0, 1.0)


@dataclass(kw_only=True)
class CorruptionConfig:
    """Noise on what the LLM is fed in training, against copying its own past and exact positions."""

    token_swap: float = 0.1
    """Probability that an input token of the text is replaced by a random one."""
    frame_swap: float = 0.03
    """Probability that a speech position is replaced by another of the batch."""
    frame_drop: float = 0.01
    """Probability that a speech position is dropped."""

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        for key in ("token_swap", "frame_swap", "frame_drop"):
            _within(key, getattr(self, key), 0.0, 1.0)


@dataclass(kw_only=True)
class AverageConfig:
    """Weights that are a mean over the training; they are what is handed on. One of the three may be set."""

    ema: float = 0.0
    """Moving average: the share that stays at each step, such as 0.999; it is validated too. 0: none."""
    last: int = 0
    """Mean of as many of the last training states; so many are kept. 0: none."""
    best: int = 0
    """Mean of as many of the training states with the best validation; so many are kept. 0: none."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers, and more than one kind of mean."""
        if not 0 <= self.ema < 1:
            raise ValueError(f"`ema` must be 0 or more and less than 1, got {self.ema}")
        _at_least("last", self.last, 0)
        _at_least("best", self.best, 0)
        if len(given := [key for key in ("ema", "last", "best") if getattr(self, key)]) > 1:
            raise ValueError(f"one kind of mean at a time: unset `{given[0]}` or `{given[1]}`")


@dataclass(kw_only=True)
class FrontendConfig:
    """Log-mel features; the arguments of `maya_encoder.features.LogMel`."""

    num_mels: int = 80
    """Mel bins."""
    frontend: Literal["modern", "legacy"] = "modern"
    """Numerics of the recipe that a checkpoint was trained with."""
    dither: float = 1.0e-5
    """Standard deviation of the noise added to a waveform in training."""
    sampling_rate: int = 16_000
    """Hertz; audio at another rate is resampled when it is read."""


@dataclass(kw_only=True)
class SpecAugmentConfig:
    """Masks over the features in training; the arguments of `maya_encoder.specaugment.SpecAugment`."""

    num_freq_masks: int = 2
    """Frequency masks an utterance."""
    freq_width: int = 27
    """Widest frequency mask, in mel bins."""
    num_time_masks: int = 10
    """Time masks an utterance."""
    time_width: float = 0.05
    """Widest time mask, as a fraction of the utterance."""


@dataclass(kw_only=True)
class RunConfig:
    """One stage of training, complete."""

    recipe: str = ""
    """The file of configs/recipe that this run comes from."""
    stage: str = ""
    """The stage that this is; on the command line, `stage=` picks one of the recipe's."""
    stages: list[str] = field(default_factory=list)
    """All stages of the recipe, in order."""
    run_dir: str = "runs/${recipe}"
    """Folder of the recipe: its data, index, tokenizer, and a folder a stage."""
    out_dir: str = "${run_dir}/${stage}"
    """Folder of this stage: config.yaml, metrics.jsonl, checkpoints/, model/, DONE."""
    init_from: str | None = None
    """Model folder to start from; `previous`: that of the recipe's stage before; null: fresh weights."""
    seed: int = 0
    """Seed of weights, data order and noise."""

    devices: int | None = None
    """Processes a node; under `fabric run` give --devices instead. null: 1 on the CPU, else every GPU."""
    num_nodes: int | None = None
    """Machines; under `fabric run` give --num-nodes instead. null: 1."""
    accelerator: Literal["cpu", "cuda", "mps", "auto"] | None = None
    """Kind of device; null: a GPU where there is one."""
    precision: Precision | None = None
    """Number format of the arithmetic; null: 32-true. Not float16: Gemma 3 overflows in it."""
    threads: int | None = None
    """Threads of one process; null: the cores of the machine shared among its processes."""

    max_steps: int = 1_000
    """Optimizer steps."""
    save_every: int = 1_000
    """Steps between training checkpoints."""
    valid_every: int = 1_000
    """Steps between validations; 0: only at the end."""
    log_every: int = 10
    """Steps between two lines of progress on the screen; metrics.jsonl gets every step."""
    loggers: list[str] = field(default_factory=lambda: ["csv", "tensorboard"])
    """Where curves go besides metrics.jsonl: csv, tensorboard, wandb."""
    keep_last: int = 2
    """Training checkpoints kept."""
    keep_best: int = 0
    """Training checkpoints kept besides, those with the best validation; then each validation saves one."""
    best_by: str = "wer"
    """What makes a validation the best, the lower the better: wer or cer, means over the heads, or a path in
    validation.jsonl such as wer.ctc.hi."""
    save_async: bool = False
    """Go on training while a checkpoint is written, from a copy of the state in main memory."""
    grad_accum: int = 1
    """Batches of a process that make one optimizer step."""
    grad_clip: float = 1.0
    """Largest norm of the gradient; 0 turns clipping off."""

    task: Literal["acoustic", "speech_llm", "text_copy"] = "acoustic"
    """What is learnt: the acoustic heads, speech to LLM text, or the LLM's noisy copying of text."""
    train: list[str] = field(default_factory=lambda: ["encoder", "ctc", "rnnt"])
    """Modules whose weights change: encoder, language_prompt, a name in `heads`, projector, llm. All others
    are frozen and in eval mode."""
    lr: dict[str, float] = field(default_factory=dict)
    """Peak learning rate of each module that trains; those of frozen modules wait."""
    loss: dict[str, float] = field(default_factory=dict)
    """Weight of the loss of each head, by its name in `heads`; 0 leaves it out. And `<head>_from`: the
    fraction of the steps after which that loss enters."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and schedule."""
    average: AverageConfig | None = None
    """Hand on a mean of the weights over the training; null: the last weights."""
    corruption: CorruptionConfig | None = None
    """Noise on the LLM's input in training; null: none."""
    cache_encoder: bool = False
    """Make the outputs of a frozen encoder once and keep them; SpecAugment then draws its masks once."""
    cache_gib: float = 2.0
    """Most memory for that cache, in GiB; where all outputs need more, each batch is encoded anew."""
    specaugment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    """Masks over the features in training; null: none."""

    langs: list[str] = field(default_factory=list)
    """Languages that the model knows, in the order of their ids."""
    text: str = "asr-v1"
    """Text profile of the model."""
    tokenizer: str = "${run_dir}/tokenizer"
    """Folder of the SentencePiece model, as `maya-data tokenizer` writes it."""
    vocab_size: int | None = None
    """Pieces that the tokenizer must have; null: as many as it has."""
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    """Log-mel features."""
    data: DataConfig = field(default_factory=DataConfig)
    """Segments and batches."""

    reader: Any = None
    """Plugin of kind `readers`: where the shards are."""
    encoder: Any = None
    """Plugin of kind `encoders`."""
    heads: dict[str, Any] = field(default_factory=dict)
    """Plugins of kind `heads`, by the names that `train` uses."""
    language_prompt: LanguagePromptConfig | None = None
    """Network behind the encoder that is told the language; null: none."""
    projector: Any = None
    """Plugin of kind `projectors`."""
    llm: Any = None
    """The fields of `maya_bridge.llm.LLMConfig`."""
    prompt: Any = None
    """The fields of `maya_bridge.prompt.PromptConfig`."""
    strategy: Any = None
    """Plugin of kind `strategies`."""

    def __post_init__(self) -> None:
        """Refuse numbers and combinations that cannot train."""
        for key in ("max_steps", "save_every", "log_every", "keep_last", "grad_accum"):
            _at_least(key, getattr(self, key), 1)
        for key in ("devices", "num_nodes", "threads"):
            if (value := getattr(self, key)) is not None:
                _at_least(key, value, 1)
        _at_least("valid_every", self.valid_every, 0)
        for name in self.loggers:
            if name not in LOGGERS:
                raise ValueError(f"`loggers` has {name!r}; there are: {', '.join(LOGGERS)}")
        _at_least("keep_best", self.keep_best, 0)
        _at_least("grad_clip", self.grad_clip, 0)
        self._check_modules()
        _check_langs("langs", self.langs)
        _check_langs("data.langs", self.data.langs or ())
        for module in ("encoder", LANGUAGE_PROMPT):
            if self.cache_encoder and module in self.train:
                raise ValueError(f"`cache_encoder` needs a frozen {module}, but this stage trains it")
        if self.cache_encoder and self.data.changes_audio:
            raise ValueError(
                "`cache_encoder` keeps one output an utterance; unset data.speeds and data.noise"
            )

    def _check_modules(self) -> None:
        check_names(self.train, self.lr, self.heads)
        if self.task == "acoustic" and self.heads:
            head_losses(self.loss, self.heads, self.train)
        if LANGUAGE_PROMPT in self.train and self.language_prompt is None:
            raise ValueError(f"`train` names {LANGUAGE_PROMPT!r}, but `{LANGUAGE_PROMPT}` is null")
        fresh = self.language_prompt is not None and self.init_from is None and self.task == "acoustic"
        if fresh and LANGUAGE_PROMPT not in self.train:
            raise ValueError(f"`{LANGUAGE_PROMPT}` has fresh weights, but `train` does not name it")


def _check_langs(key: str, langs: Iterable[str]) -> None:
    from maya_encoder.script import LANGS

    for lang in langs:
        if lang not in LANGS:
            hint = (
                f". Did you mean {close[0]!r}?" if (close := get_close_matches(lang, LANGS, 1, 0.5)) else ""
            )
            raise ValueError(f"`{key}` has {lang!r}; the languages are: {', '.join(LANGS)}{hint}")
