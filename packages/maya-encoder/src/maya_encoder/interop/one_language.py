"""A model of many languages as one that writes a single language: what other formats have a place for.

A vector that is added for the language is the same for every frame, so it becomes part of a bias, and every
number of every head stays what it was.
"""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from maya_encoder.acoustic_model import AcousticModel


def for_language(model: AcousticModel, lang: str) -> AcousticModel:
    """A model without a language embedding that computes what `model` does for `lang`.

    Args:
        model: is copied where it has a language embedding, and else returned as it is.
        lang: one of the model's languages.

    Raises:
        ValueError: the model does not know the language.
    """
    if getattr(model.encoder, "lang_position", "none") == "none":
        return model
    if lang not in model.langs:
        raise ValueError(f"`lang` must be one of this model's {', '.join(model.langs)}, got {lang!r}")
    found = copy.deepcopy(model)
    encoder: Any = found.encoder
    vector = encoder.lang_embedding.weight[model.langs.index(lang)]  # (D,)
    layers = [encoder.pre_encode.out] if encoder.lang_position == "input" else _first_layers(found)
    if encoder.lang_position == "input":
        _add(layers[0].bias, vector)
    else:
        for layer in layers:
            _add(layer.bias, layer.weight.flatten(1) @ vector)
    _forget_languages(found)
    return found


def _first_layers(model: AcousticModel) -> list[Any]:
    """What of each head reads the encoder's frames."""
    found: list[nn.Module] = []
    for name in model.heads:
        head: Any = model.head(name)
        found.append(head.decoder_layers[0] if hasattr(head, "decoder_layers") else head.joint.enc)
    return found


def _forget_languages(model: AcousticModel) -> None:
    encoder: Any = model.encoder
    encoder.lang_position = "none"
    encoder.config = replace(encoder.config, lang_embedding="none")
    del encoder.lang_embedding
    model.config = replace(model.config, encoder=encoder.config)


@torch.no_grad()
def _add(bias: Tensor, vector: Tensor) -> None:
    bias += vector.to(bias.dtype)
