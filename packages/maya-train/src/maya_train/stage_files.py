"""Files that a chain wants: index, tokenizer, first weights, LLM; looked for before anything starts."""

import re
import sys
from collections.abc import Container, Sequence
from importlib.util import find_spec
from pathlib import Path

from maya_train.errors import LaunchError
from maya_train.schema import RunConfig

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def check_files(runs: Sequence[RunConfig]) -> None:
    """Refuse a chain whose index, tokenizer, first weights or LLM are missing."""
    check_llm(runs)
    made = {str(Path(run.out_dir) / "model") for run in runs}
    for run in runs:
        check_other_models(run, made)
        _check_index(run, run.data.index)
        if run.data.valid_index is not None:
            _check_index(run, run.data.valid_index)
        if not (Path(run.tokenizer) / "tokenizer.yaml").is_file():
            size = "" if run.vocab_size is None else f" --vocab-size {run.vocab_size}"
            how = f"maya-data tokenizer {run.data.index} --out {run.tokenizer}{size}"
            raise LaunchError(f"no tokenizer at {run.tokenizer}; make it with: {how}")
        if not _has_start(run, made):
            raise LaunchError(f"stage {run.stage} starts from {run.init_from}, which is not there")


def check_other_models(run: RunConfig, made: Container[str]) -> None:
    """Refuse a stage whose checkpoint, scoring model, teacher or list of segments is missing."""
    files = {
        "init.path": getattr(run.init, "path", None),
        "select.model": getattr(run.select, "model", None),
        "distill.teacher": getattr(run.distill, "teacher", None),
        "data.keep": run.data.keep,
    }
    if run.distill is not None and run.distill.teacher is None:
        raise LaunchError(f"stage {run.stage}: no value given for distill.teacher, a model folder")
    for key, path in files.items():
        if path is not None and path not in made and not Path(path).exists():
            raise LaunchError(f"stage {run.stage}: {key}: {path} is not there")


def check_llm(runs: Sequence[RunConfig]) -> None:
    """Refuse a chain whose LLM is a folder that nobody makes, or in a Python package that is missing."""
    from maya_bridge.gguf import HELPERS, INSTALL, PACKAGE

    made = {str(Path(run.out_dir) / "model"): run.task for run in runs}
    for run in runs:
        path, source = getattr(run.llm, "path", None), getattr(run.llm, "source", None)
        if source in (None, "tiny") or _has_llm(run) or made.get(run.init_from or "") == "speech_llm":
            continue
        wants_folder = source == "folder" and path not in made and _has_start(run, made)
        if wants_folder and _is_missing_folder(path):
            what = "no value given" if path is None else f"{path}: no such folder"
            raise LaunchError(f"stage {run.stage}: llm.path: {what}; give a model folder or a hub id")
        if wants_folder and not run.llm.hub and not Path(str(path)).is_dir():
            raise LaunchError(
                f"stage {run.stage}: llm.path: {path}: no such folder; to fetch that id from the Hugging Face"
                " hub, set llm.hub=true"
            )
        missing = [name for name in (PACKAGE, *HELPERS) if source == "gguf" and find_spec(name) is None]
        if missing:
            raise LaunchError(
                f"stage {run.stage}: llm.source: gguf needs {', '.join(missing)}, not installed here;"
                f" install with: {sys.executable} -m {INSTALL}"
            )


def _has_llm(run: RunConfig) -> bool:
    """Whether the LLM was unpacked before, or comes with the model that the stage starts from."""
    if run.init_from is not None and (Path(run.init_from) / "llm").is_dir():
        return True
    return run.llm.path is not None and (Path(run.llm.path) / "model.safetensors").is_file()


def _has_start(run: RunConfig, made: Container[str]) -> bool:
    """Whether the model that a stage starts from, if any, is there or will be."""
    return run.init_from is None or run.init_from in made or Path(run.init_from).is_dir()


def _is_missing_folder(path: str | None) -> bool:
    """Whether a path can only mean a folder (a hub id is `owner/name`, or a name), and there is none."""
    return path is None or (not Path(path).is_dir() and HUB_ID.fullmatch(path) is None)


def _check_index(run: RunConfig, index: str) -> None:
    if (Path(index) / "index.json").is_file():
        return
    root = getattr(run.reader, "root", None)
    if root is None:
        raise LaunchError("no value given for reader.root; set it or MAYA_DATA")
    if not Path(root).is_dir():
        raise LaunchError(f"reader.root: {root}: no such folder")
    raise LaunchError(f"no index at {index}; make it with: maya-data index ROOT --out {index}")
