"""A folder that the package `onnx-asr` opens, and that onnxruntime runs without it.

model.onnx has the names of NeMo's own exports (`audio_signal` (B, F, T) and `length` in, `logprobs` and
`encoded_lengths` out, batch and time free), vocab.txt the pieces, config.json what the package reads. It
names no language when it runs, so a model that needs one is written for one.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.interop.new_folder import new_folder
from maya_encoder.interop.onnx_export import (
    CHECKED_LENS,
    CTCGraph,
    Names,
    check_exportable,
    described,
    example_batch,
    in_float32,
    largest_difference,
    uses_languages,
    write_graph,
)
from maya_encoder.interop.sentencepiece_proto import Piece, PieceKind, parse_model
from maya_encoder.script import LANGS, unfold
from maya_encoder.tokenizer import Tokenizer

KIND = "nemo-conformer-ctc"
"""What the model is called in `onnx_asr.load_model`."""
NAMES = Names(("audio_signal", "length"), ("logprobs", "encoded_lengths"), ("batch", "mels", "time"))
MEL_BINS = (80, 128)
"""The package has its own mel filters of these sizes."""
SAMPLING_RATE = 16000
BLANK = "<blk>"
SPACE = "\u2581"
SILENT = (PieceKind.CONTROL, PieceKind.UNUSED)


class NeMoGraph(nn.Module):
    """What the file computes: `CTCGraph` with the axes of NeMo, for one language where there are any.

    Args:
        model: with a head named `ctc`; its weights are shared.
        lang: place of the language in the model's `langs`, or None where no number depends on it.
    """

    def __init__(self, model: AcousticModel, lang: int | None) -> None:
        super().__init__()
        self.graph = CTCGraph(model)
        self.lang = lang

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F, T) and lengths (B,) to log-probabilities (B, T', V) and lengths (B,)."""
        out: tuple[Tensor, Tensor] = self.graph(audio_signal.transpose(1, 2), length, self._lang_ids(length))
        return out

    def reference(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the encoder's own forward."""
        return self.graph.reference(audio_signal.transpose(1, 2), length, self._lang_ids(length))

    def _lang_ids(self, length: Tensor) -> Tensor | None:
        return None if self.lang is None else torch.full_like(length, self.lang)


def save_onnx_asr(model: AcousticModel, folder: str | Path, lang: str | None = None) -> float:
    """Write encoder and CTC head for `onnx_asr.load_model("nemo-conformer-ctc", folder)`.

    Args:
        model: with a CTC head.
        folder: a new folder, or an empty one; it gets model.onnx, vocab.txt and config.json.
        lang: language that is written; needed where the model or its script depends on it.

    Returns:
        The largest difference of a log-probability from the model's own, over several lengths and paddings.

    Raises:
        MissingExtra: onnx or onnxruntime is not installed.
        ValueError: the model has no CTC head, or a setting that the package has no place for.
    """
    check_exportable(model)
    refuse_what_has_no_place(model, lang)
    place = model.langs.index(str(lang)) if uses_languages(model) else None
    graph = NeMoGraph(in_float32(model), place).eval()
    batches = [_turned(example_batch(lens, model.frontend.num_mels, 0)) for lens in CHECKED_LENS]
    told = {**described(model), "maya.lang": json.dumps(lang)}
    with new_folder(folder) as unfinished:
        write_graph(graph, batches[0], unfinished / "model.onnx", NAMES, told)
        difference = largest_difference(graph.reference, batches, unfinished / "model.onnx", NAMES)
        (unfinished / "vocab.txt").write_text(_vocabulary(model.tokenizer, lang), encoding="utf-8")
        config = {
            "model_type": KIND,
            "features_size": model.frontend.num_mels,
            "subsampling_factor": model.encoder.subsampling_factor,
        }
        (unfinished / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return difference


def refuse_what_has_no_place(model: AcousticModel, lang: str | None) -> None:
    """Refuse a model that `onnx-asr` would give other features or read other text from.

    Raises:
        ValueError: names the first such setting and its value, or the language that is missing.
    """
    frontend = model.frontend
    _refuse_unless(frontend.num_mels in MEL_BINS, "frontend.num_mels", frontend.num_mels)
    _refuse_unless(frontend.sampling_rate == SAMPLING_RATE, "frontend.sampling_rate", frontend.sampling_rate)
    _refuse_unless(frontend.normalize == "per_feature", "frontend.normalize", frontend.normalize)
    for piece in _pieces(model.tokenizer):
        _refuse_unless(piece.kind is not PieceKind.BYTE, "byte_fallback of the tokenizer", True)
    known = model.langs or LANGS
    if lang not in known and (lang is not None or needs_language(model)):
        raise ValueError(
            "onnx-asr names no language when it transcribes: name the one to write with lang=,"
            f" of {', '.join(known)}, got {lang!r}"
        )


def needs_language(model: AcousticModel) -> bool:
    """Whether numbers or script depend on the language."""
    return uses_languages(model) or model.tokenizer.script != "native"


def _refuse_unless(fits: bool, name: str, value: object) -> None:
    if not fits:
        raise ValueError(f"`{name}` is {value!r}, and onnx-asr has no place for that")


def _turned(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    features, lens = batch
    return features.transpose(1, 2).contiguous(), lens


def _vocabulary(tokenizer: Tokenizer, lang: str | None) -> str:
    """A line for each id: text, a space, the id; the blank comes last."""
    texts = [_text(piece, tokenizer, lang) for piece in _pieces(tokenizer)]
    return "".join(f"{text} {i}\n" for i, text in enumerate([*texts, BLANK]))


def _text(piece: Piece, tokenizer: Tokenizer, lang: str | None) -> str:
    """What a piece adds to a text; a space is U+2581, and what `Tokenizer.decode` drops is nothing."""
    if piece.kind is PieceKind.UNKNOWN:
        return f"{SPACE}\u2047" if tokenizer.unknown == "mark" else ""
    if piece.kind in SILENT:
        return ""
    text = piece.text.replace(" ", SPACE)
    return text if tokenizer.script == "native" else unfold(text, str(lang))


def _pieces(tokenizer: Tokenizer) -> list[Piece]:
    return [piece for proto in tokenizer.models.values() for piece in parse_model(proto).pieces]
