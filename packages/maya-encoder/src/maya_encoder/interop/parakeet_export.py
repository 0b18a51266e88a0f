"""A model as a Hugging Face Parakeet folder, which `transformers` opens without this package.

Written by hand, so that transformers is not needed: config.json, generation_config.json, model.safetensors,
preprocessor_config.json, processor_config.json, tokenizer.json and tokenizer_config.json.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.checkpoint import system_errors
from maya_encoder.interop.new_folder import new_folder
from maya_encoder.interop.one_language import for_language
from maya_encoder.interop.parakeet_names import encoder_to_theirs, head_to_theirs
from maya_encoder.interop.parakeet_settings import (
    config_json,
    feature_extractor_json,
    generation_json,
    refuse_what_has_no_place,
)
from maya_encoder.interop.parakeet_tokenizer import Json, to_tokenizer_json
from maya_encoder.script import LANGS, unfold
from maya_encoder.tokenizer import BadTokenizer, Tokenizer

PREFERRED = ("ctc", "tdt", "rnnt")
"""Heads in the order in which one is chosen: a folder holds one, and `AutoModelForCTC` is the widest used."""

_DEVANAGARI = [chr(code) for code in range(0x900, 0x980)]


def save_parakeet(
    model: AcousticModel, folder: str | Path, head: str | None = None, lang: str | None = None
) -> str:
    """Write `model` with one of its heads, whole or not at all.

    Args:
        model: what to write.
        folder: a new folder, or an empty one.
        head: `ctc`, `rnnt` or `tdt`; by default CTC where there is one.
        lang: language that the folder writes; needed where the tokenizer is of the common script, or the
            encoder adds a vector for the language, which then becomes part of a bias.

    Returns:
        A sentence on what was written and what was left out.

    Raises:
        ValueError: the model has a setting that transformers' Parakeet has no place for, or no such head.
        BadTokenizer: its tokenizer cannot be expressed as tokenizer.json.
    """
    name = _chosen_head(model, head)
    if lang is not None:
        model = for_language(model, lang)
    refuse_what_has_no_place(model, name)
    tokenizer = _tokenizer_json(model.tokenizer, name, lang)
    with new_folder(folder) as unfinished:
        for file, contents in _json_files(model, name, tokenizer).items():
            text = json.dumps(contents, ensure_ascii=False, indent=2) + "\n"
            (unfinished / file).write_text(text, encoding="utf-8")
        with system_errors(Path(folder)):
            save_file(_tensors(model, name), unfinished / "model.safetensors", metadata={"format": "pt"})
    left_out = [other for other in model.heads if other != name]
    told = f", without the head {' and '.join(left_out)}" if left_out else ""
    return f"wrote {folder} for transformers: encoder and {name} head{told}"


def _chosen_head(model: AcousticModel, head: str | None) -> str:
    found = head if head is not None else next((name for name in PREFERRED if name in model.heads), None)
    if found not in PREFERRED or found not in model.heads:
        raise ValueError(
            f"`head` must be one of this model's that transformers has too ({', '.join(PREFERRED)}), got"
            f" {head!r}; the model has: {', '.join(model.heads)}"
        )
    return str(found)


def _tensors(model: AcousticModel, head: str) -> dict[str, Tensor]:
    theirs = encoder_to_theirs(model.encoder.state_dict())
    theirs |= head_to_theirs(model.head(head).state_dict(), head)
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in theirs.items()}


def _json_files(model: AcousticModel, head: str, tokenizer: Json) -> dict[str, Json]:
    extractor = feature_extractor_json(model.frontend)
    blank = _blank_name(tokenizer)
    names = _special_names(tokenizer, blank)
    return {
        "config.json": config_json(model, head),
        "generation_config.json": generation_json(model, head),
        "preprocessor_config.json": {**extractor, "processor_class": "ParakeetProcessor"},
        "processor_config.json": {
            "processor_class": "ParakeetProcessor",
            "feature_extractor": extractor,
            "blank_token": blank,
            "decoder_type": head,
        },
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            "tokenizer_class": "ParakeetTokenizer",
            "processor_class": "ParakeetProcessor",
            "clean_up_tokenization_spaces": False,
            **names,
        },
    }


def _blank_name(tokenizer: Json) -> str:
    return str(tokenizer["added_tokens"][-1]["content"])


def _special_names(tokenizer: Json, blank: str) -> dict[str, str]:
    """The blank pads, for every head: decoding drops the padding."""
    model = tokenizer["model"]
    unknown = model["unk_token"] if model["type"] == "BPE" else model["vocab"][model["unk_id"]][0]
    return {"pad_token": blank, "unk_token": unknown}


def _tokenizer_json(tokenizer: Tokenizer, head: str, lang: str | None) -> Json:
    if len(tokenizer.names) > 1:
        raise BadTokenizer(
            f"the tokenizer has {len(tokenizer.names)} SentencePiece models ({', '.join(tokenizer.names)}),"
            " and a tokenizer.json holds one"
        )
    (proto,) = tokenizer.models.values()
    blank = "<pad>" if head == "ctc" else "<blank>"
    if any(tokenizer.piece(i) == blank for i in range(tokenizer.vocab_size)):
        blank = "<|blank|>"
    return to_tokenizer_json(proto, blank, _unfolding(tokenizer, lang))


def _unfolding(tokenizer: Tokenizer, lang: str | None) -> Mapping[str, str]:
    if tokenizer.script == "native":
        return {}
    if lang not in LANGS:
        raise BadTokenizer(
            f"`script` of the tokenizer is {tokenizer.script!r}, which transformers cannot unfold into"
            f" several scripts: name the one language to write with lang=, got {lang!r}"
        )
    changed: dict[str, Any] = {letter: unfold(letter, lang) for letter in _DEVANAGARI}
    return {letter: other for letter, other in changed.items() if letter != other}
