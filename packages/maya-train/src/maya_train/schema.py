"""RunConfig: everything one stage of training can be told. The string under a field is its help.

Plugin slots and the sections of other packages are typed `Any` here; `compose` puts the chosen dataclass in
their place before anything is merged, so that every key is checked.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from maya_train.acoustic_sections import FrontendConfig as FrontendConfig
from maya_train.acoustic_sections import LanguagePromptConfig as LanguagePromptConfig
from maya_train.acoustic_sections import SpecAugmentConfig as SpecAugmentConfig
from maya_train.best import check_best
from maya_train.data_config import DataConfig as DataConfig
from maya_train.faults_config import FaultsConfig as FaultsConfig
from maya_train.learning_config import AverageConfig as AverageConfig
from maya_train.learning_config import CorruptionConfig as CorruptionConfig
from maya_train.learning_config import OptimConfig as OptimConfig
from maya_train.limits import at_least as _at_least
from maya_train.limits import within as _within
from maya_train.module_names import LANGUAGE_PROMPT, check_names, head_losses
from maya_train.stage_checks import check_stage
from maya_train.stage_config import DistillConfig as DistillConfig
from maya_train.stage_config import EncoderLoraConfig as EncoderLoraConfig
from maya_train.stage_config import InitConfig as InitConfig
from maya_train.stage_config import SelectConfig as SelectConfig

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
    "data.keep": None,
    "faults.spike_factor": None,
    "faults.spike_steps": None,
    "faults.inject": [],
    "ctc_weight": 0.0,
    "distill": None,
    "encoder_lora": None,
    "encoder_top_layers": None,
    "init": None,
    "optim.decay_share": 0.1,
    "select": None,
}
"""Keys that came after the first release, with the values that mean what was done before: at these they are
no part of a run's identity, so that a stage that was finished stays finished."""

UNUSED: dict[str, tuple[str, ...]] = {
    "acoustic": ("projector", "llm", "prompt", "corruption"),
    "init": ("projector", "llm", "prompt", "corruption"),
    "text_copy": ("encoder", "language_prompt", "projector"),
    "speech_llm": (),
}
"""Task -> keys that it never reads: emptied after checking, so that they cannot change a stage's digest."""


MAX_SEED = 2**32 - 1
"""What numpy takes."""


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
    compile: bool = False
    """Compile the layers of encoder and LLM with torch.compile; pays on GPUs, after minutes at the start."""

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

    faults: FaultsConfig = field(default_factory=FaultsConfig)
    """What is borne, what is watched, and when the run gives up."""

    task: Literal["acoustic", "speech_llm", "text_copy", "init"] = "acoustic"
    """What is learnt: the acoustic heads, speech to LLM text, or the LLM's noisy copying of text; `init`
    opens a checkpoint and learns nothing."""
    train: list[str] = field(default_factory=lambda: ["encoder", "ctc", "rnnt"])
    """Modules whose weights change: encoder, language_prompt, a name in `heads`, projector, llm. All others
    are frozen and in eval mode."""
    lr: dict[str, float] = field(default_factory=dict)
    """Peak learning rate of each module that trains; those of frozen modules wait."""
    loss: dict[str, float] = field(default_factory=dict)
    """Weight of the loss of each head, by its name in `heads`; 0 leaves it out. And `<head>_from`: the
    fraction of the steps after which that loss enters."""
    ctc_weight: float = 0.0
    """Share of a token's loss that a CTC token's loss is added with, where an LLM learns; 0: none."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and schedule."""
    average: AverageConfig | None = None
    """Hand on a mean of the weights over the training; null: the last weights."""
    corruption: CorruptionConfig | None = None
    """Noise on the LLM's input in training; null: none."""
    encoder_top_layers: int | None = None
    """So many of the encoder's last layers learn where `train` names it; null: the whole encoder."""
    encoder_lora: EncoderLoraConfig | None = None
    """LoRA learns where `train` names the encoder; null: the encoder itself."""
    init: InitConfig | None = None
    """What the task `init` opens."""
    select: SelectConfig | None = None
    """Train on the cleanest part of each language, found by a scoring pass; null: on all of `data`."""
    distill: DistillConfig | None = None
    """Learn from an older model too, so that nothing is forgotten; null: no."""
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
        for key in ("keep_best", "grad_clip", "cache_gib"):
            _at_least(key, getattr(self, key), 0)
        _within("seed", self.seed, 0, MAX_SEED)
        check_best(self)
        self._check_folders()
        self._check_modules()
        check_stage(self)
        _check_langs("langs", self.langs)
        _check_langs("data.langs", self.data.langs or ())
        self._check_cache()

    def _check_folders(self) -> None:
        for key in ("run_dir", "out_dir"):
            if (path := str(getattr(self, key))).startswith("~"):
                raise ValueError(f"`{key}` is taken as it stands; write the whole path, got {path}")

    def _check_cache(self) -> None:
        for module in ("encoder", LANGUAGE_PROMPT):
            if self.cache_encoder and module in self.train:
                raise ValueError(
                    f"`cache_encoder` needs a frozen {module}, but this stage trains it; set it to false"
                )
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
