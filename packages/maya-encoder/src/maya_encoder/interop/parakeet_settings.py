"""Our settings as those of transformers' Parakeet, and which of ours it has no place for."""

import inspect
from dataclasses import MISSING, Field, fields
from typing import Any

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.features import LogMel
from maya_encoder.interop.parakeet_tokenizer import Json

CLASSES = {"ctc": "ParakeetForCTC", "rnnt": "ParakeetForRNNT", "tdt": "ParakeetForTDT"}

EXPRESSED = {
    "name",
    "num_layers",
    "hidden_size",
    "num_heads",
    "ff_expansion",
    "conv_kernel",
    "subsampling_factor",
    "subsampling_channels",
    "use_bias",
    "xscaling",
    "dropout",
    "prediction_size",
    "joint_size",
    "activation",
    "max_symbols",
    "durations",
}
"""Fields of our configs that have a key there."""

TRAINING_ONLY = {
    "activation_checkpointing",
    "fastemit_lambda",
    "omega",
    "sigma",
    "context_size",
    "untie_biases",
}
"""Fields that change no number in evaluation mode; shared position biases are written for each layer."""

NAME_ONE = "; name one language to write with lang=, and its vector becomes part of a bias"

TRAINING_PARTS = ("dropout", "drop_prob", "stochastic_depth", "chunking")
"""Parts of names of further fields of that sort."""


def refuse_what_has_no_place(model: AcousticModel, head: str) -> None:
    """Refuse a model that transformers' Parakeet cannot express.

    Raises:
        ValueError: names the first such setting and its value.
    """
    config = model.config
    if not isinstance(config.encoder, FastConformerConfig):
        raise ValueError(f"the encoder must be a fastconformer to become a Parakeet, got {config.encoder!r}")
    _refuse_unless(config.prompt is None, "prompt", config.prompt)
    _refuse_unless(not config.multisoftmax, "multisoftmax", config.multisoftmax)
    _refuse_fields(config.encoder, "encoder")
    _refuse_fields(config.heads[head], f"heads.{head}")
    _refuse_frontend(model.frontend, config.frontend)
    attention = getattr(model.encoder, "attention", getattr(config.encoder, "attention", "rel_pos"))
    _refuse_unless(attention == "rel_pos", "attention", attention)
    if head != "ctc":
        settings: Any = config.heads[head]
        sizes = (settings.joint_size, settings.prediction_size)
        _refuse_unless(len(set(sizes)) == 1, f"heads.{head}.joint_size, prediction_size", sizes)


def config_json(model: AcousticModel, head: str) -> Json:
    """Contents of config.json."""
    size = model.tokenizer.vocab_size + 1
    shared = {
        "architectures": [CLASSES[head]],
        "model_type": f"parakeet_{head}",
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "vocab_size": size,
        "pad_token_id": size - 1,
        "encoder_config": encoder_json(model.config.encoder, model.frontend.num_mels),
    }
    if head == "ctc":
        return {**shared, "ctc_loss_reduction": "mean", "ctc_zero_infinity": True}
    settings: Any = model.config.heads[head]
    transducer = {
        "blank_token_id": size - 1,
        "decoder_hidden_size": settings.prediction_size,
        "num_decoder_layers": settings.num_layers,
        "hidden_act": settings.activation,
        "max_symbols_per_step": settings.max_symbols,
        "is_encoder_decoder": True,
    }
    durations = {"durations": list(settings.durations)} if head == "tdt" else {}
    return {**shared, **transducer, **durations}


def encoder_json(config: FastConformerConfig, num_mels: int) -> Json:
    """A ParakeetEncoderConfig."""
    return {
        "model_type": "parakeet_encoder",
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "intermediate_size": config.ff_expansion * config.hidden_size,
        "hidden_act": "silu",
        "attention_bias": config.use_bias,
        "convolution_bias": config.use_bias,
        "conv_kernel_size": config.conv_kernel,
        "subsampling_factor": config.subsampling_factor,
        "subsampling_conv_channels": config.subsampling_channels,
        "subsampling_conv_kernel_size": 3,
        "subsampling_conv_stride": 2,
        "num_mel_bins": num_mels,
        "scale_input": config.xscaling,
        "dropout": config.dropout,
        "activation_dropout": config.dropout,
        "attention_dropout": config.dropout,
        "dropout_positions": 0.0,
        "layerdrop": 0.0,
        "max_position_embeddings": 5000,
    }


def generation_json(model: AcousticModel, head: str) -> Json:
    """Contents of generation_config.json: transducers start from the blank and never write a duration."""
    size = model.tokenizer.vocab_size + 1
    if head == "ctc":
        return {"pad_token_id": size - 1}
    found: Json = {"pad_token_id": size - 1, "decoder_start_token_id": size - 1}
    if head == "tdt":
        settings: Any = model.config.heads[head]
        found["suppress_tokens"] = list(range(size, size + len(settings.durations)))
    return found


def feature_extractor_json(frontend: LogMel) -> Json:
    """A ParakeetFeatureExtractor."""
    return {
        "feature_extractor_type": "ParakeetFeatureExtractor",
        "feature_size": frontend.num_mels,
        "sampling_rate": frontend.sampling_rate,
        "hop_length": frontend.sampling_rate // 100,
        "win_length": frontend.sampling_rate // 40,
        "n_fft": 512,
        "preemphasis": 0.97,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
    }


def _refuse_unless(fits: bool, name: str, value: object, hint: str = "") -> None:
    if not fits:
        raise ValueError(f"`{name}` is {value!r}, and transformers' Parakeet has no place for that{hint}")


def _refuse_fields(config: Any, where: str) -> None:
    for field in fields(config):
        if field.name in EXPRESSED | TRAINING_ONLY or any(part in field.name for part in TRAINING_PARTS):
            continue
        value = getattr(config, field.name)
        hint = NAME_ONE if field.name == "lang_embedding" else ""
        _refuse_unless(value == _default(field), f"{where}.{field.name}", value, hint)


def _default(field: "Field[Any]") -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _refuse_frontend(frontend: LogMel, settings: dict[str, Any]) -> None:
    expressed = {"num_mels", "sampling_rate", "dither"}
    parameters = inspect.signature(LogMel).parameters
    for name, value in settings.items():
        if name not in expressed and name in parameters:
            _refuse_unless(value == parameters[name].default, f"frontend.{name}", value)
    _refuse_unless(frontend.frontend == "modern", "frontend", frontend.frontend)
