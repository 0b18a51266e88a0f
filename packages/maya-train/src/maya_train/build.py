"""RunConfig to objects: the one place where all packages meet. Read it from top to bottom."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from transformers.utils import logging as hf_logging

import maya_bridge.checkpoint as bridge_checkpoint
from maya_bridge.corruption import Corruption
from maya_bridge.llm import LLMConfig, load_folder, load_llm
from maya_bridge.prompt import PromptConfig
from maya_bridge.speech_llm import SpeechLLM
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import common_characters
from maya_data.loading.batch import Batch
from maya_encoder import checkpoint as acoustic_checkpoint
from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.tokenizer import Tokenizer
from maya_train.data_plan import selection
from maya_train.errors import ConfigError
from maya_train.module_names import LANGUAGE_PROMPT
from maya_train.schema import RunConfig
from maya_train.sources import TrainingData, cache_batches
from maya_train.tasks import Task
from maya_train.tasks.acoustic import AcousticTask
from maya_train.tasks.distillation import Teacher, make_teacher
from maya_train.tasks.encoder_cache import EncoderCache, fill, key_of
from maya_train.tasks.encoder_part import add_encoder_lora, top_layers
from maya_train.tasks.speech_llm import SpeechLLMTask
from maya_train.tasks.text_copy import TextCopyTask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LLM_IDENTITY = ("source", "num_layers", "script", "hidden_size", "num_heads", "num_kv_heads", "ff_expansion")
BYTES_A_VALUE = 2  # the cache keeps float16
FEATURES_A_SECOND = 100
WEIGHTS = acoustic_checkpoint.WEIGHTS_FILE

Say = Callable[[str], None]


def build_task(
    fabric: Fabric, cfg: RunConfig, data: TrainingData, say: Say
) -> tuple[Task, EncoderCache | None]:
    """The task of a stage with its model, and what is kept of a frozen encoder's outputs."""
    task: Task
    cache: EncoderCache | None = None
    if cfg.task == "text_copy":
        task = _text_copy(cfg)
    elif cfg.task == "acoustic":
        acoustic = build_acoustic(cfg)
        if cfg.cache_encoder:
            cache = keep_outputs(fabric, cfg, data, acoustic, say)
        task = AcousticTask(
            acoustic, cfg.train, cfg.loss, cache, _part(cfg, acoustic), _teacher(cfg, acoustic)
        )
    else:
        model = build_speech_llm(cfg, say)
        if cfg.cache_encoder:
            cache = keep_outputs(fabric, cfg, data, model, say)
        part = _part(cfg, model.acoustic)
        task = SpeechLLMTask(model, cfg.train, _corruption(cfg), cache, part, cfg.ctc_weight)
    hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would draw over ours
    task.made_by = {"recipe": cfg.recipe, "stage": cfg.stage, "llm": _llm_name(cfg)}
    return task, cache


def build_acoustic(cfg: RunConfig) -> AcousticModel:
    """Front end, encoder and heads, with the weights of `init_from` where one is given."""
    tokenizer = Tokenizer.load(cfg.tokenizer)
    if cfg.vocab_size not in (None, tokenizer.vocab_size):
        raise ConfigError(
            f"vocab_size is {cfg.vocab_size}, but {cfg.tokenizer} has {tokenizer.vocab_size} pieces;"
            " train that tokenizer again, or set vocab_size to null"
        )
    config = AcousticModelConfig(
        encoder=cfg.encoder,
        heads=cfg.heads,
        langs=cfg.langs,
        text=cfg.text,
        frontend=asdict(cfg.frontend),
        specaugment=None if cfg.specaugment is None else asdict(cfg.specaugment),
        prompt=None if cfg.language_prompt is None else asdict(cfg.language_prompt),
    )
    model = AcousticModel(config, tokenizer)
    if cfg.init_from is not None:
        _adopt_weights(model, Path(cfg.init_from), set(cfg.train))
    return model


def _part(cfg: RunConfig, acoustic: AcousticModel) -> nn.Module | None:
    """What learns in the encoder's place, None for all of it."""
    if cfg.encoder_lora is not None:
        return add_encoder_lora(acoustic.encoder, **asdict(cfg.encoder_lora))
    return None if cfg.encoder_top_layers is None else top_layers(acoustic.encoder, cfg.encoder_top_layers)


def _teacher(cfg: RunConfig, acoustic: AcousticModel) -> Teacher | None:
    if cfg.distill is None:
        return None
    settings = cfg.distill
    return make_teacher(Path(str(settings.teacher)), acoustic, settings.weight, settings.temperature)


def build_speech_llm(cfg: RunConfig, say: Say = lambda text: None) -> SpeechLLM:
    """Acoustic model, projector and LLM; what `init_from` holds of them is taken from there."""
    acoustic = build_acoustic(cfg)
    folder = None if cfg.init_from is None else Path(cfg.init_from)
    if folder is None or not (folder / "llm").is_dir():
        llm, tokenizer = _load_llm(cfg, common_characters(acoustic.tokenizer))
        return SpeechLLM(acoustic, cfg.projector, llm, tokenizer, _prompt(cfg))
    saved = acoustic_checkpoint.read_config(folder)
    _refuse_other_llm(cfg, folder, saved)
    own = replace(
        _llm_config(cfg),
        path=str(folder / "llm"),
        source="folder",
        gguf_file=None,
        hub=False,
        num_layers=None,
    )
    llm, tokenizer = load_folder(folder / "llm", own)
    model = SpeechLLM(acoustic, cfg.projector, llm, tokenizer, _prompt(cfg))
    if saved["projector"] == asdict(cfg.projector):
        bridge_checkpoint.load_projector(model, folder / WEIGHTS)
    else:
        held = saved["projector"]["name"]
        other = f"{held} with other settings" if held == cfg.projector.name else held
        say(f"{cfg.stage}: projector {cfg.projector.name} starts fresh, {folder} holds {other}")
    return model


def keep_outputs(
    fabric: Fabric, cfg: RunConfig, data: TrainingData, model: AcousticModel | SpeechLLM, say: Say
) -> EncoderCache | None:
    """What the frozen encoder gives for all training data, or None where that takes more than `cache_gib`."""
    acoustic = model if isinstance(model, AcousticModel) else model.acoustic
    with_ctc = isinstance(model, SpeechLLM) and "ctc" in model.projector.needs
    width = acoustic.encoder.hidden_size + (acoustic.tokenizer.vocab_size + 1 if with_ctc else 0)
    frames = float(data.index.durations[data.usable_rows()].sum()) * FEATURES_A_SECOND
    need = frames / acoustic.encoder.subsampling_factor * width * BYTES_A_VALUE / 2**30
    if need > cfg.cache_gib:
        say(
            f"{cfg.stage}: encoder outputs take {need:.1f} GiB, more than cache_gib={cfg.cache_gib:g}:"
            " they are computed anew for every batch"
        )
        return None
    prompt = [] if acoustic.prompt is None else [acoustic.prompt]
    parts = [acoustic.encoder, *prompt, *([acoustic.heads["ctc"]] if with_ctc else [])]
    masks = None if cfg.specaugment is None else (asdict(cfg.specaugment), cfg.seed)
    inputs = (data.index.fingerprint, selection(cfg), asdict(cfg.frontend), masks, cfg.langs)
    key = key_of(nn.ModuleList(parts), *inputs)
    model.to(fabric.device).eval()

    def encode(batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        features, feature_lens = acoustic.frontend(batch.waveforms, batch.waveform_lens)
        if acoustic.specaugment is not None:
            features = acoustic.specaugment(features, feature_lens, _generator(features, cfg.seed, batch.ids))
        out, lens = acoustic.encode_features(features, feature_lens, batch.langs)
        return out, lens, acoustic.head("ctc")(out) if with_ctc else None

    folder = Path(cfg.run_dir) / "encoder_outputs" / key
    return fill(fabric, folder, cache_batches(cfg, data), encode, say)


def _generator(like: Tensor, seed: int, ids: Sequence[str]) -> torch.Generator:
    """Masks that depend on the batch alone, so that a cache that was interrupted goes on the same."""
    return torch.Generator(like.device).manual_seed(crc32(f"{seed} {' '.join(ids)}".encode()))


def _text_copy(cfg: RunConfig) -> TextCopyTask:
    characters = common_characters(Tokenizer.load(cfg.tokenizer))
    llm, tokenizer = _load_llm(cfg, characters)
    return TextCopyTask(llm, tokenizer, _prompt(cfg), cfg.train, _corruption(cfg))


def _load_llm(cfg: RunConfig, characters: Sequence[str]) -> "tuple[PreTrainedModel, LLMTokenizer]":
    config = _llm_config(cfg)
    try:
        return load_llm(config, characters)
    except OSError as error:  # transformers': no such folder or hub id, no network, no licence accepted
        if error.errno is not None:
            raise
        raise ConfigError(f"llm.path: {config.path} cannot be loaded: {error}") from error


def _llm_config(cfg: RunConfig) -> LLMConfig:
    assert isinstance(cfg.llm, LLMConfig)
    return cfg.llm


def _llm_name(cfg: RunConfig) -> dict[str, Any] | None:
    """What tells one LLM from another; where it lies is not part of it."""
    if cfg.llm is None:
        return None
    return {key: getattr(cfg.llm, key) for key in LLM_IDENTITY}


def _prompt(cfg: RunConfig) -> PromptConfig:
    return cfg.prompt or PromptConfig()


def _corruption(cfg: RunConfig) -> Corruption | None:
    return None if cfg.corruption is None else Corruption(**asdict(cfg.corruption))


def _refuse_other_llm(cfg: RunConfig, folder: Path, saved: dict[str, Any]) -> None:
    made_with = (saved.get("made_by") or {}).get("llm")
    if made_with is not None and made_with != _llm_name(cfg):
        odd = next(key for key in made_with if made_with[key] != getattr(cfg.llm, key, None))
        raise ConfigError(
            f"init_from: {folder} was made with llm.{odd}={made_with[odd]}, this run says"
            f" {getattr(cfg.llm, odd, None)}; start from a stage before the LLM came in"
        )


def _adopt_weights(model: AcousticModel, folder: Path, train: set[str]) -> None:
    """Take all tensors of `folder`; only a head or language prompt that this stage trains may be new."""
    config = acoustic_checkpoint.read_config(folder)
    if (
        sha := Tokenizer.load(folder / acoustic_checkpoint.TOKENIZER_FOLDER).sha256
    ) != model.tokenizer.sha256:
        raise ConfigError(
            f"init_from: {folder} was trained with another tokenizer ({sha[:8]}) than this run's"
        )
    if list(config["langs"]) != list(model.langs):
        raise ConfigError(
            f"init_from: {folder} knows the languages {config['langs']}, this run says {model.langs}"
        )
    tensors = acoustic_checkpoint.read_tensors(folder)
    found = {key: value for key, value in tensors.items() if not key.startswith("projector.")}
    new = tuple(f"heads.{name}." for name in model.heads if name in train and name not in config["heads"])
    if LANGUAGE_PROMPT in train and not config.get(LANGUAGE_PROMPT):
        new += ("prompt.",)
    wanted = {key: value for key, value in model.state_dict().items() if not (new and key.startswith(new))}
    acoustic_checkpoint.check_fit(wanted, found, folder)
    model.load_state_dict(found, strict=False)
