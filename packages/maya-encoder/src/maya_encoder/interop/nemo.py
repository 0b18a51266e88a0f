"""NeMo's ASR models, read from their archives without NeMo.

CTC, RNNT and TDT models, hybrids of these, prompted ones (`prompt_kernel`), with one tokenizer or an
aggregate. Of all others, such as Canary, there is the encoder. Names of parameters were kept close to NeMo's,
so that renaming is by prefix.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from maya_encoder.acoustic_model import AcousticModelConfig
from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.ai4bharat import check_fork, from_fork
from maya_encoder.interop.imported import Imported
from maya_encoder.interop.nemo_archive import NemoArchive
from maya_encoder.interop.nemo_encoder import encoder_config
from maya_encoder.interop.nemo_frontend import frontend_arguments, frontend_of, specaugment_arguments
from maya_encoder.interop.nemo_heads import Heads, read_heads
from maya_encoder.interop.nemo_section import Section
from maya_encoder.interop.nemo_tokenizer import read_tokenizer
from maya_encoder.interop.notes import FrontendDoubt
from maya_encoder.tokenizer import Tokenizer

KNOWN = ("preprocessor.", "encoder.", "decoder.", "ctc_decoder.", "joint.", "prompt_kernel.")
"""Prefixes of what an ASR model of NeMo's consists of."""


def read(path: str | Path) -> Imported:
    """The model of a `.nemo` archive or of its unpacked folder.

    Args:
        path: the archive.

    Returns:
        The model; the encoder alone, with the reason, where there is no head or tokenizer of a known kind.

    Raises:
        BadCheckpoint: the archive is damaged or unsafe, or its encoder or front end cannot be built here.
    """
    archive = NemoArchive(path)
    config = Section(archive.config(), str(archive.path))
    frontend = "legacy" if from_fork(config) else frontend_of(config.get("nemo_version"))
    base = {
        "encoder": encoder_config(config.section("encoder"), frontend),
        "frontend": frontend_arguments(config.section("preprocessor"), frontend),
        "specaugment": specaugment_arguments(config.section("spec_augment")),
    }
    imported = _with_heads(archive, config, archive.weights(), base)
    imported.notes.insert(0, _frontend_note(config, frontend))
    return imported


def _frontend_note(config: Section, frontend: str) -> str:
    version = config.get("nemo_version")
    if version is None and not from_fork(config):
        return FrontendDoubt(f"no version of NeMo is named, so the front end is taken to be {frontend}")
    return f"written by NeMo {version or 'unknown version'}, so made for the {frontend} front end"


def _with_heads(
    archive: NemoArchive, config: Section, tensors: Mapping[str, Tensor], base: dict[str, Any]
) -> Imported:
    encoder = {name: value for name, value in tensors.items() if name.startswith("encoder.")}
    try:
        heads, tokenizer = _heads_and_tokenizer(archive, config, tensors)
    except BadCheckpoint as error:
        found = Imported(AcousticModelConfig(**base, langs=()), None, encoder, reason=str(error))
        left = len(tensors) - len(encoder)
        found.notes.append(f"{left} tensors outside the encoder were left out")
        return found
    prompt = _prompt(config, tensors)
    model = AcousticModelConfig(
        **base,
        heads=heads.configs,
        langs=_langs(config, tokenizer),
        prompt=prompt,
        multisoftmax=from_fork(config),
    )
    return Imported(model, tokenizer, encoder | heads.tensors | _rest(tensors))


def _heads_and_tokenizer(
    archive: NemoArchive, config: Section, tensors: Mapping[str, Tensor]
) -> tuple[Heads, Tokenizer]:
    heads = read_heads(config, tensors, lang_outputs=from_fork(config))
    if not heads.configs:
        kind = str(config.get("target", "its class")).rpartition(".")[2]
        raise BadCheckpoint(f"{archive.path}: {kind} has no CTC, RNNT or TDT head")
    tokenizer = read_tokenizer(archive, config.section("tokenizer"))
    if from_fork(config):
        check_fork(config, tokenizer, tensors)
    return heads, tokenizer


def _langs(config: Section, tokenizer: Tokenizer) -> tuple[str, ...]:
    """Languages by their prompts, or by their tokenizers; else the archive does not tell."""
    prompts = _prompt_places(config)
    each = tokenizer.names if len(tokenizer.names) > 1 or from_fork(config) else ()
    return tuple(prompts) or tuple(each)


def _prompt(config: Section, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
    weight = tensors.get("prompt_kernel.0.weight")
    if weight is None:
        return None
    width = config.section("encoder").whole("d_model")
    return {"num_prompts": weight.shape[1] - width, "lang_prompts": _prompt_places(config)}


def _prompt_places(config: Section) -> dict[str, int]:
    places = config.section("model_defaults").get("prompt_dictionary", {})
    return {str(lang): int(place) for lang, place in places.items()}


def _rest(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The prompt's tensors, and under their own names those that no part of an ASR model has."""
    moved = {
        name.replace("prompt_kernel.", "prompt."): value
        for name, value in tensors.items()
        if name.startswith("prompt_kernel.")
    }
    return moved | {name: value for name, value in tensors.items() if not name.startswith(KNOWN)}
