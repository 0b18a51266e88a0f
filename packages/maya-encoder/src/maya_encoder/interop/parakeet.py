"""Hugging Face Parakeet folders (CTC, RNNT, TDT), and the FastConformer of others such as Canary, read in.

Only JSON and safetensors are read; transformers is not needed. The front end is the modern one: `modern` of
`LogMel` does what `ParakeetFeatureExtractor` does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from maya_encoder.acoustic_model import AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop import indicconformer_onnx
from maya_encoder.interop.imported import Imported
from maya_encoder.interop.parakeet_files import feature_extractor, read_json, read_tensors
from maya_encoder.interop.parakeet_heads import read_head
from maya_encoder.interop.parakeet_names import encoder_from_theirs, with_all_biases

ENCODER_DEFAULTS = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 8,
    "intermediate_size": 4096,
    "hidden_act": "silu",
    "attention_bias": True,
    "convolution_bias": True,
    "conv_kernel_size": 9,
    "subsampling_factor": 8,
    "subsampling_conv_channels": 256,
    "num_mel_bins": 80,
    "subsampling_conv_kernel_size": 3,
    "subsampling_conv_stride": 2,
    "dropout": 0.1,
    "scale_input": True,
}
"""What `ParakeetEncoderConfig` takes for a key that config.json leaves out."""

FIXED = {"hidden_act": "silu", "subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 2}
"""Keys with one possible value here."""

ENCODER_MARK = "subsampling.linear.weight"


def read(path: str | Path) -> Imported:
    """The model of a Hugging Face folder.

    Args:
        path: a folder with config.json, model.safetensors (or its shards with an index), and for text
            tokenizer.json; preprocessor_config.json or processor_config.json where features are not the
            usual.

    Returns:
        Encoder and head; where the head is not CTC, RNNT or TDT, the encoder alone and no tokenizer.

    Raises:
        BadCheckpoint: it holds no FastConformer, or a setting has a value that cannot be built here.
    """
    folder = Path(path)
    config = read_json(folder / "config.json")
    if config.get("model_type") == "iasr":  # AI4Bharat's own class, here without a file in ONNX
        return indicconformer_onnx.read(folder)
    settings = _encoder_settings(config, folder)
    theirs = read_tensors(folder)
    prefix = _encoder_prefix(theirs, folder)
    encoder = _encoder_config(settings, folder)
    tensors = _encoder_tensors(encoder_from_theirs(theirs, prefix), encoder)
    heads, head_tensors, tokenizer, notes = read_head(folder, config, theirs)
    model = AcousticModelConfig(encoder=encoder, langs=(), frontend=_frontend(folder, settings))
    if heads:
        model.heads = heads
    return Imported(model, tokenizer, {**_under("encoder", tensors), **head_tensors}, notes)


def _encoder_settings(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Keys of a ParakeetEncoderConfig, whether it is the whole config or a part of it."""
    parts = [config, *(value for value in config.values() if isinstance(value, dict))]
    found = next((part for part in parts if part.get("model_type") == "parakeet_encoder"), None)
    if found is None and str(config.get("model_type", "")).startswith(("parakeet_", "canary")):
        found = config.get("encoder_config") or {}
    if found is None:
        raise BadCheckpoint(
            f"{folder / 'config.json'}: `model_type` is {config.get('model_type')!r}, which has no"
            " FastConformer encoder of the kind parakeet_encoder"
        )
    settings = {**ENCODER_DEFAULTS, **found}
    for key, wanted in FIXED.items():
        if settings[key] != wanted:
            raise BadCheckpoint(
                f"{folder / 'config.json'}: `{key}` is {settings[key]!r}, and only {wanted!r} can be"
                " built here"
            )
    return settings


def _encoder_config(settings: Mapping[str, Any], folder: Path) -> FastConformerConfig:
    size, inner, mels = settings["hidden_size"], settings["intermediate_size"], settings["num_mel_bins"]
    for key, unit in (("intermediate_size", size), ("num_mel_bins", settings["subsampling_factor"])):
        if settings[key] % unit:
            raise BadCheckpoint(
                f"{folder / 'config.json'}: `{key}` must be a multiple of {unit} to be built here,"
                f" got {settings[key]}"
            )
    try:
        return FastConformerConfig(
            num_layers=settings["num_hidden_layers"],
            hidden_size=size,
            num_heads=settings["num_attention_heads"],
            ff_expansion=inner // size,
            conv_kernel=settings["conv_kernel_size"],
            subsampling_factor=settings["subsampling_factor"],
            subsampling_channels=settings["subsampling_conv_channels"],
            use_bias=bool(settings["attention_bias"] or settings["convolution_bias"]),
            xscaling=bool(settings["scale_input"]),
            dropout=settings["dropout"],
        )
    except ValueError as error:
        raise BadCheckpoint(
            f"{folder / 'config.json'} describes no encoder for {mels} mel bins: {error}"
        ) from None


def _encoder_prefix(tensors: Mapping[str, Tensor], folder: Path) -> str:
    found = [name.removesuffix(ENCODER_MARK) for name in tensors if name.endswith(ENCODER_MARK)]
    if not found:
        raise BadCheckpoint(
            f"{folder} has no tensor whose name ends in {ENCODER_MARK!r}, so no FastConformer"
        )
    return found[0]


def _encoder_tensors(tensors: dict[str, Tensor], config: FastConformerConfig) -> dict[str, Tensor]:
    return with_all_biases(tensors, config.num_layers) if config.use_bias else tensors


def _frontend(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    found = feature_extractor(folder)
    mels = found.get("feature_size", settings["num_mel_bins"])
    if mels != settings["num_mel_bins"]:
        raise BadCheckpoint(
            f"{folder}: the feature extractor makes {mels} mel bins, the encoder takes"
            f" {settings['num_mel_bins']}"
        )
    rate = found.get("sampling_rate", 16000)
    usual = {"n_fft": 512, "hop_length": rate // 100, "win_length": rate // 40, "preemphasis": 0.97}
    for key, wanted in usual.items():
        if found.get(key, wanted) != wanted:
            raise BadCheckpoint(
                f"{folder}: `{key}` of the feature extractor is {found[key]}, and only {wanted} can be built"
                f" here at {rate} Hz"
            )
    return {"num_mels": mels, "frontend": "modern", "sampling_rate": rate}


def _under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}
