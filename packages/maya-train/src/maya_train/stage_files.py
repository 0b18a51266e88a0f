"""Files that a stage wants beside its index and its first weights; looked for before anything starts."""

from collections.abc import Container
from pathlib import Path

from maya_train.errors import LaunchError
from maya_train.schema import RunConfig


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
