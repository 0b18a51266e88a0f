"""The layers of a run, lowest first: config.yaml, group files, stage, recipe, command line."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from maya_train.errors import ConfigError
from maya_train.registry import available
from maya_train.schema import SLOTS

Layer = tuple[str, DictConfig]
"""Where the values come from, and the values."""

RECIPE_KEYS = ("defaults", "stages", "all", "stage")


@dataclass(kw_only=True)
class Recipe:
    """A file of configs/recipe: stages in order, groups (`defaults`), keys for `all` and for one `stage`."""

    name: str
    stages: list[str]
    defaults: dict[str, str] = field(default_factory=dict)
    all: DictConfig = field(default_factory=lambda: DictConfig({}))
    stage: DictConfig = field(default_factory=lambda: DictConfig({}))

    @property
    def source(self) -> str:
        """The name of its file, for errors."""
        return f"recipe/{self.name}.yaml"


def split_overrides(root: Path, overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """`overrides` as choices (of files of configs/, and `config`) and typed values."""
    choices, values = {}, []
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key or key.startswith("-"):
            raise ConfigError(f"command line: {item!r}: expected key=value, for example max_steps=100")
        if key == "config" or (root / key).is_dir():
            if not value:
                what = "a saved config.yaml" if key == "config" else f"a file of configs/{key}"
                raise ConfigError(f"command line: {key}=: expected the name of {what}")
            choices[key] = value
        else:
            values.append(item)
    return choices, values


def load_recipe(root: Path, choices: dict[str, str]) -> Recipe:
    """The recipe that the command line or config.yaml chooses."""
    name = choices.get("recipe") or str(load_file(root / "config.yaml").defaults.recipe)
    content = _load_group(root, "recipe", name)
    for key in map(str, content):
        if key not in RECIPE_KEYS:
            hint = f" Did you mean: {close[0]!r}?" if (close := _close(key, RECIPE_KEYS)) else ""
            raise ConfigError(f"recipe/{name}.yaml: {key}: no such key in a recipe.{hint}")
    recipe = Recipe(name=name, **{str(key): value for key, value in content.items() if value is not None})
    for key in map(str, recipe.stage):
        if key not in recipe.stages:
            raise ConfigError(
                f"{recipe.source}: stage.{key}: not one of its stages {', '.join(recipe.stages)}"
            )
    return recipe


def pick_stages(recipe: Recipe, choices: dict[str, str]) -> list[str]:
    """The stages to run: all of the recipe's, or the one that `stage=` names."""
    if (stage := choices.get("stage")) is None:
        return list(recipe.stages)
    if stage not in recipe.stages:
        raise ConfigError(f"stage={stage}: recipe {recipe.name} has the stages {', '.join(recipe.stages)}")
    return [stage]


def stage_layers(root: Path, recipe: Recipe, stage: str, choices: dict[str, str]) -> Iterator[Layer]:
    """All layers of one stage below the command line's values."""
    base = load_file(root / "config.yaml")
    of_stage = _load_group(root, "stage", stage)
    of_recipe = DictConfig(recipe.stage.get(stage) or {})
    groups: dict[str, Any] = {}
    for layer in (base, of_stage, DictConfig({"defaults": recipe.defaults}), of_recipe):
        groups.update(layer.pop("defaults", None) or {})
    groups.update({key: value for key, value in choices.items() if key != "config"})
    yield "config.yaml", base
    for group, name in groups.items():
        if group not in ("recipe", "stage"):
            yield f"{group}/{name}.yaml", DictConfig({group: _load_group(root, group, name)})
    yield f"stage/{stage}.yaml", of_stage
    yield recipe.source, recipe.all
    yield recipe.source, of_recipe
    identity = {"recipe": recipe.name, "stage": stage, "stages": list(recipe.stages)}
    yield recipe.source, DictConfig(identity)


def parse_values(values: Sequence[str]) -> Layer:
    """The `key=value` arguments as the last layer."""
    layer = DictConfig({})
    for item in values:
        try:
            layer.merge_with(OmegaConf.from_dotlist([item]))
        except (OmegaConfBaseException, YAMLError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"command line: {item!r}: cannot be read as key=value: {reason}") from None
    return "command line", layer


def load_file(path: Path) -> DictConfig:
    """A YAML file of keys and values."""
    try:
        cfg = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(cfg, DictConfig):
        raise ConfigError(f"{path}: expected keys and values, found a list")
    return cfg


def _load_group(root: Path, group: str, name: str) -> DictConfig:
    path = root / group / f"{name}.yaml"
    if path.is_file():
        return load_file(path)
    kind = SLOTS.get(group)
    if kind and (":" in name or name in available(kind)):
        return DictConfig({"name": name})
    have = sorted(entry.stem for entry in path.parent.glob("*.yaml"))
    hint = f". Did you mean {close[0]!r}?" if (close := _close(name, have)) else ""
    raise ConfigError(f"{group}={name}: no such file; configs/{group} has: {', '.join(have)}{hint}")


def _close(word: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(word, known, n=1)
