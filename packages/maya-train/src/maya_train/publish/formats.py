"""What is taken from a model for each format, and who writes it: maya-encoder or maya-bridge."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import maya_encoder
from maya_encoder import checkpoint as acoustic_checkpoint
from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.interop.onnx_asr import needs_language, refuse_what_has_no_place, save_onnx_asr
from maya_encoder.interop.onnx_export import MissingExtra, export_onnx
from maya_encoder.interop.parakeet_export import PREFERRED, save_parakeet
from maya_train.errors import ConfigError
from maya_train.publish.request import Request
from maya_train.publish.source import Source

WRITTEN_KEYS = (
    "format package bridge langs text tokenizer frontend specaugment language_prompt multisoftmax encoder"
    " heads projector prompt llm"
)
"""Keys that the packages write anew."""
OWN_KEYS = ("made_by",)
"""Keys of a model's config.yaml that tell of the run and of nothing that the model needs."""


@dataclass(frozen=True)
class Written:
    """What an export holds."""

    layout: str
    """What opens it: parakeet-ctc, parakeet-rnnt, parakeet-tdt, onnx-asr, onnx, acoustic or speech_llm."""
    systems: tuple[str, ...]
    """What in it can write text: names of heads, and `llm`; the first does where nobody chooses."""
    langs: tuple[str, ...]
    """The languages that it writes."""
    notes: tuple[str, ...] = ()
    """What was chosen or left out."""
    difference: float | None = None
    """Largest difference of a log-probability from the model's own, where it was measured."""


def write(source: Source, request: Request, folder: Path) -> Written:
    """Write the model of `source` to `folder`, which does not exist yet.

    Raises:
        ConfigError: the format has no place for something; the message names it.
    """
    try:
        if request.kind == "safetensors":
            return _write_safetensors(source, request, folder)
        model = _acoustic(source)
        langs = tuple(model.langs) or request.languages
        if request.lang is not None and langs and request.lang not in langs:
            raise ConfigError(f"--lang must be one of {', '.join(langs)}, got {request.lang!r}")
        langs = langs if request.lang is None else (request.lang,)
        writer = _write_parakeet if request.kind == "hf" else _write_onnx
        return writer(model, request, folder, langs)
    except ConfigError:
        raise
    except (ValueError, MissingExtra) as error:
        raise ConfigError(f"{request.kind}: {str(error).replace('lang=', '--lang')}") from error


def has_llm(model: Path) -> bool:
    """Whether a folder holds a SpeechLLM."""
    return (model / "llm" / "config.json").is_file()


def _acoustic(source: Source) -> AcousticModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all notes are told on the card
        return maya_encoder.load(source.model)


def _left_out(model: AcousticModel, kept: str) -> tuple[str, ...]:
    others = [f"the {name} head" for name in model.heads if name != kept]
    return (f"{', '.join(others)} left out",) if others else ()


def _write_parakeet(model: AcousticModel, request: Request, folder: Path, langs: tuple[str, ...]) -> Written:
    save_parakeet(model, folder, request.head, request.lang)
    head = request.head or next(name for name in PREFERRED if name in model.heads)
    notes = (*_left_out(model, head), *model.import_notes)
    return Written(f"parakeet-{head}", (head,), langs, notes)


def _write_onnx(model: AcousticModel, request: Request, folder: Path, langs: tuple[str, ...]) -> Written:
    notes = (*_left_out(model, "ctc"), *model.import_notes)
    reason = _why_not_onnx_asr(model, request.lang)
    if not reason:
        difference = save_onnx_asr(model, folder, request.lang)
        if model.frontend.frontend == "legacy":
            notes += (
                "the model was trained with the `legacy` front end; onnx-asr computes the modern one, whose"
                " features differ a little at the ends of an utterance",
            )
        return Written("onnx-asr", ("ctc",), langs, notes, difference)
    if request.lang is not None:
        raise ConfigError(f"onnx: {reason}; without --lang, a folder for onnxruntime alone is written")
    difference = export_onnx(model, folder)
    return Written("onnx", ("ctc",), langs, (*notes, reason), difference)


def _why_not_onnx_asr(model: AcousticModel, lang: str | None) -> str:
    if lang is None and needs_language(model):
        return (
            "the language is an input, or decides on the script, so onnxruntime opens this folder and"
            " onnx-asr does not; `--lang` writes one language for both"
        )
    try:
        refuse_what_has_no_place(model, lang)
    except ValueError as error:
        return str(error)
    return ""


def _write_safetensors(source: Source, request: Request, folder: Path) -> Written:
    if has_llm(source.model):
        import maya_bridge

        whole = maya_bridge.load(source.model)
        kept = _further_keys(source)
        maya_bridge.save(whole, folder, extra_config=kept)
        model, layout, more = whole.acoustic, "speech_llm", ["llm"]
    else:
        model, layout, more = _acoustic(source), "acoustic", []
        acoustic_checkpoint.save(model, folder, extra_config=_further_keys(source))
    langs = tuple(model.langs) or request.languages
    heads = sorted(
        model.heads, key=lambda name: name != model.default_head
    )  # what writes unasked comes first
    return Written(layout, (*more, *heads), langs, tuple(model.import_notes))


def _further_keys(source: Source) -> dict[str, object]:
    """Keys of config.yaml that `save` does not write by itself, and that are not about the run."""
    known = {*WRITTEN_KEYS.split(), acoustic_checkpoint.NOTES_KEY, *OWN_KEYS}
    return {key: value for key, value in source.config.items() if key not in known}
