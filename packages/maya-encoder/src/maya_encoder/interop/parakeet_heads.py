"""The head and the tokenizer of a Hugging Face Parakeet folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from maya_encoder.fit import BadCheckpoint
from maya_encoder.heads import HeadConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig
from maya_encoder.interop.parakeet_files import read_json
from maya_encoder.interop.parakeet_names import blank_last, head_from_theirs
from maya_encoder.interop.parakeet_vocabulary import from_tokenizer_json, placeholder
from maya_encoder.tokenizer import BadTokenizer, Tokenizer

KINDS = {"parakeet_ctc": "ctc", "parakeet_rnnt": "rnnt", "parakeet_tdt": "tdt"}
"""`model_type` to the name of our head."""

Found = tuple[dict[str, HeadConfig], dict[str, Tensor], Tokenizer | None, list[str]]


def read_head(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Found:
    """Head config by name, its tensors under model names, the tokenizer, and notes.

    Empty, without a tokenizer, where `model_type` is none of CTC, RNNT and TDT.
    """
    kind = KINDS.get(str(config.get("model_type")))
    if kind is None:
        note = f"the head of a {config.get('model_type')} is not read, its encoder is"
        return {}, {}, None, [note]
    vocab_size, blank = _vocabulary(config, kind, tensors, folder)
    own = blank_last(head_from_theirs(tensors, kind), vocab_size, blank)
    named = {f"heads.{kind}.{name}": tensor for name, tensor in own.items()}
    tokenizer, notes = _tokenizer(folder, vocab_size, blank)
    if blank != vocab_size - 1:
        notes.append(f"the blank was id {blank}; it is the last here, and ids above it moved down by one")
    return {kind: _head_config(config, kind, folder)}, named, tokenizer, notes


def _vocabulary(
    config: Mapping[str, Any], kind: str, tensors: Mapping[str, Tensor], folder: Path
) -> tuple[int, int]:
    """Rows of the head that are tokens, and which of them is the blank."""
    usual = 1025 if kind == "ctc" else 8193
    size = int(config.get("vocab_size", usual))
    key = "pad_token_id" if kind == "ctc" else "blank_token_id"
    blank = config.get(key, usual - 1)
    if not isinstance(blank, int) or not 0 <= blank < size:
        raise BadCheckpoint(f"{folder / 'config.json'}: `{key}` must be from 0 to {size - 1}, got {blank!r}")
    return size, blank


def _head_config(config: Mapping[str, Any], kind: str, folder: Path) -> HeadConfig:
    if kind == "ctc":
        return CTCConfig()
    size = config.get("decoder_hidden_size", 640)
    activation = config.get("hidden_act", "relu")
    shared = {
        "prediction_size": size,
        "joint_size": size,
        "num_layers": config.get("num_decoder_layers", 2),
        "activation": activation,
        "max_symbols": config.get("max_symbols_per_step", 10),
    }
    try:
        if kind == "rnnt":
            return RNNTConfig(**shared)
        durations = tuple(config.get("durations", (0, 1, 2, 3, 4)))
        return TDTConfig(**shared, durations=durations, sigma=0.0)  # their loss subtracts nothing
    except ValueError as error:
        raise BadCheckpoint(
            f"{folder / 'config.json'} describes no head that can be built here: {error}"
        ) from None


def _tokenizer(folder: Path, vocab_size: int, blank: int) -> tuple[Tokenizer, list[str]]:
    file = folder / "tokenizer.json"
    if not file.is_file():
        note = f"{folder} has no tokenizer.json, so tokens are written as their ids: <0><1>..."
        return Tokenizer({"ids": placeholder(vocab_size - 1)}, unknown="mark"), [note]
    try:
        found = from_tokenizer_json(read_json(file), vocab_size, blank)
    except BadTokenizer as error:
        raise BadCheckpoint(f"{file} cannot be used: {error}") from None
    return Tokenizer({"parakeet": found.proto}), list(found.notes)
