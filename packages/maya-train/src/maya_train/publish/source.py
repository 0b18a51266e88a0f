"""Where a model lies: in a run, in a stage of it, alone in a folder, or in another program's checkpoint."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from maya_train.errors import ConfigError

CONFIG = "config.yaml"
MODEL = "model"


@dataclass(frozen=True)
class Source:
    """A model, and the run that it comes from as far as that is known."""

    given: Path
    model: Path
    """Folder or file that is opened."""
    run: Path | None = None
    """Folder with the stages' folders."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml of the model's folder; empty for another program's checkpoint."""
        return read_yaml(self.model / CONFIG)

    @cached_property
    def stages(self) -> tuple[Path, ...]:
        """Folders of the stages that led to this model, in order."""
        if self.run is None:
            return ()
        folders = {str(values["stage"]): folder for folder, values in _stage_configs(self.run)}
        order = next((values.get("stages") or [] for _, values in _stage_configs(self.run)), [])
        last = (self.config.get("made_by") or {}).get("stage")
        names = [name for name in order if name in folders] or sorted(folders)
        names = names[: names.index(last) + 1] if last in names else names
        return tuple(folders[name] for name in names)

    @property
    def name(self) -> str:
        """What to call the model where nobody says."""
        if self.run is not None:
            return self.run.resolve().name
        return self.model.resolve().name.removesuffix(".nemo")

    def default_out(self, kind: str, lang: str | None) -> Path:
        """Where an export goes when nobody says."""
        name = kind if lang is None else f"{kind}-{lang}"
        if self.run is not None:
            return self.run / "export" / name
        return self.model.with_name(f"{self.model.name}-{name}")


def find(path: Path) -> Source:
    """The model that a path stands for.

    Raises:
        ConfigError: there is none, or it is not finished.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist; name a run's folder, a stage's, a model's or a checkpoint")
    if path.is_file():
        return Source(path, path)
    values = read_yaml(path / CONFIG)
    if "format" in values:
        return Source(path, path, _run_of(path))
    if "stage" in values:
        return Source(path, _finished(path), path.parent)
    stages = list(_stage_configs(path))
    if not stages:
        return Source(path, path)
    if (path / MODEL / CONFIG).is_file():
        return Source(path, path / MODEL, path)
    return Source(path, _last_finished(path, stages), path)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a file; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        loaded = OmegaConf.load(path)
        found = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else {}
    except Exception as error:  # the classes of two YAML parsers
        raise ConfigError(f"{path} is damaged or no YAML: {' '.join(str(error).split())[:100]}") from None
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def _stage_configs(run: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    for file in sorted(run.glob(f"*/{CONFIG}")):
        values = read_yaml(file)
        if "stage" in values and "task" in values:
            yield file.parent, values


def _run_of(model: Path) -> Path | None:
    """The run of a model's folder: RUN/model, RUN/STAGE/model, or nothing of the kind."""
    parent = model.resolve().parent
    if "stage" in read_yaml(parent / CONFIG):
        return parent.parent
    return parent if any(True for _ in _stage_configs(parent)) else None


def _finished(stage: Path) -> Path:
    if not (stage / MODEL / CONFIG).is_file():
        raise ConfigError(
            f"{stage} is a stage that has not finished: it has no {MODEL}/ yet; train it to its end first"
        )
    return stage / MODEL


def _last_finished(run: Path, stages: list[tuple[Path, dict[str, Any]]]) -> Path:
    order = stages[0][1].get("stages") or [values["stage"] for _, values in stages]
    folders = {values["stage"]: folder for folder, values in stages}
    finished = [name for name in order if name in folders and (folders[name] / MODEL / CONFIG).is_file()]
    if not finished:
        raise ConfigError(f"{run} has no finished stage: none of {', '.join(map(str, order))} has a {MODEL}/")
    return folders[finished[-1]] / MODEL
