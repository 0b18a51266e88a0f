"""`maya-train export`: a model with its card, in a folder that appears whole or not at all."""

import math
from pathlib import Path
from typing import Any

from maya_encoder.interop.convert import describe
from maya_train.publish.card import Card
from maya_train.publish.folder import export_folder, refuse_foreign
from maya_train.publish.formats import Written, write
from maya_train.publish.licence import GEMMA_NOTICE, Licence, licence_of
from maya_train.publish.request import Request
from maya_train.publish.scores import find_scores, read_scores
from maya_train.publish.source import CONFIG, Source, find, read_yaml
from maya_train.publish.training_data import training_speech

PACKAGES = ("maya_encoder", "maya_bridge", "maya_train")
CARD = "README.md"
NOTICE = "NOTICE"


def export(request: Request) -> str:
    """Write what `request` asks for.

    Returns:
        What was written, and a line for everything that was chosen or left out.

    Raises:
        ConfigError: there is no model, the format has no place for it, or the folder is not ours to replace.
    """
    source = find(request.source)
    out = request.out or source.default_out(request.kind, request.lang)
    refuse_foreign(out)
    speech = training_speech(source, request.index)
    licence = licence_of(source.model, request.licence, request.kind == "safetensors")
    facts = {"kind": request.kind, "lang": request.lang, "source": str(source.model)}
    with export_folder(out, {key: value for key, value in facts.items() if value is not None}) as folder:
        written = write(source, request, folder)
        paths = request.scores or find_scores(source, written.systems)
        card = Card(
            name=request.name or source.name,
            written=written,
            model=describe(source.model),
            speech=speech,
            scores=read_scores(paths, request.profile, written.langs),
            test_set=request.test_set,
            licence=licence,
            made_by=_made_by(source),
        )
        (folder / CARD).write_text(card.text(), encoding="utf-8")
        if licence.gemma:
            (folder / NOTICE).write_text(f"{GEMMA_NOTICE}.\n", encoding="utf-8")
    return _told(out, written, licence, bool(card.scores))


def _made_by(source: Source) -> dict[str, str]:
    """Recipe, stages and versions, as far as the run tells."""
    found: dict[str, str] = {}
    stages = [read_yaml(folder / CONFIG) for folder in source.stages]
    if stages:
        found["recipe"] = str(stages[-1].get("recipe") or "")
        found["stages"] = ", ".join(str(values["stage"]) for values in stages)
        found["seed"] = str(stages[-1].get("seed", ""))
    if started := _started_from(stages):
        found["started from"] = started
    for package in PACKAGES:
        section = {**(source.config.get("package") or {}), **(source.config.get("bridge") or {})}
        if package in section:
            found[f"written by {package}"] = str(section[package])
    return {key: value for key, value in found.items() if value}


def _started_from(stages: list[dict[str, Any]]) -> str:
    """Checkpoints and LLMs from outside the run, by the last part of their names."""
    named = []
    for values in stages:
        run_dir, llm = str(values.get("run_dir") or "."), values.get("llm") or {}
        opened = (values.get("init") or {}).get("path")
        for path in (values.get("init_from"), opened, llm.get("path") if llm.get("hub") else None):
            if path and not Path(str(path)).is_relative_to(run_dir):
                named.append(
                    str(path) if llm.get("hub") and path == llm.get("path") else Path(str(path)).name
                )
    return ", ".join(dict.fromkeys(named))


def _told(out: Path, written: Written, licence: Licence, scored: bool) -> str:
    names = " ".join(written.langs) or "no language named"
    lines = [f"wrote {out}: {written.layout} with {', '.join(written.systems)}; {names}"]
    if written.difference is not None:
        exponent = math.ceil(math.log10(max(written.difference, 1e-9)))
        lines.append(f"onnxruntime gives the model's log-probabilities within 1e{exponent}")
    lines += [f"note: {note}" for note in written.notes]
    if not scored:
        lines.append("note: the card has no scores; --scores takes files of `maya-eval score --json`")
    if licence.chosen is None:
        lines.append("note: the card says that the licence is to be decided; --license names it")
    if licence.gemma:
        lines.append(
            "note: Gemma's weights are inside, so Gemma's terms go with them (license: gemma, NOTICE)"
        )
    return "\n".join(lines)
