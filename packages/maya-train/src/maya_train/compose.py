"""One typed RunConfig a stage, out of the YAML files in configs/ and key=value overrides.

The later layer wins (`layers.py`); each is merged by itself, so that an error knows where its value came
from. Below this module nobody sees a DictConfig.
"""

import hashlib
import importlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maya_train.durable import replace_text
from maya_train.errors import ConfigError
from maya_train.layers import (
    Layer,
    load_file,
    load_recipe,
    parse_values,
    pick_stages,
    split_overrides,
    stage_layers,
)
from maya_train.module_names import FROM
from maya_train.registry import lookup
from maya_train.schema import LATER_KEYS, SECTIONS, SLOTS, UNUSED, RunConfig

PLACE_KEYS = (
    "run_dir",
    "out_dir",
    "devices",
    "num_nodes",
    "grad_accum",
    "accelerator",
    "threads",
    "compile",
    "reader",
    "save_every",
    "valid_every",
    "log_every",
    "loggers",
    "keep_last",
    "keep_best",
    "best_by",
    "save_async",
    "cache_gib",
    "data.num_workers",
    "data.valid_index",
    "data.valid_llm",
    "data.noise.cache",
    "faults.max_skips",
    "faults.max_skipped",
    "faults.out_of_memory",
    "faults.shrink",
    "faults.worker_restarts",
    "faults.hang_minutes",
    "faults.desync_every",
)
"""What says where and how watched a run is, not what it learns."""

PATH_KEYS = (
    "init_from",
    "tokenizer",
    "data.index",
    "data.buckets_file",
    "data.keep",
    "init.path",
    "select.model",
    "distill.teacher",
)

INIT_KEYS = (
    *("task", "init", "seed", "langs", "text", "tokenizer", "vocab_size"),
    *("frontend", "specaugment", "encoder", "heads", "language_prompt"),
)
"""All that a stage of the task `init` depends on."""


def find_configs(start: Path | None = None) -> Path:
    """The configs folder of `start` (default: here) or its parents, else the copy inside this package."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "configs" / "config.yaml").is_file() and (folder / "configs" / "recipe").is_dir():
            return folder / "configs"
    return Path(__file__).parent / "configs"


def compose(overrides: Sequence[str] = (), configs: Path | None = None) -> list[RunConfig]:
    """The runs that a command line asks for, one a stage, in order.

    Args:
        overrides: `recipe=`, `stage=`, `<group>=<file>`, `config=<a saved config.yaml>` and `key=value`.
        configs: the folder to read; default: see `find_configs`.
    """
    root = configs or find_configs()
    if not (root / "config.yaml").is_file():
        raise ConfigError(f"{root}: no folder of configs: it has no config.yaml")
    choices, values = split_overrides(root, overrides)
    typed_values = parse_values(values)
    if (saved := choices.pop("config", None)) is not None:
        if choices:
            raise ConfigError(
                f"config={saved} is a whole run; {', '.join(choices)}= cannot be chosen beside it"
            )
        runs = [_typed([(saved, load_file(Path(saved))), typed_values])]
        _refuse_unread(runs, choices, typed_values[1])
        return runs
    recipe = load_recipe(root, choices)
    stages = pick_stages(recipe, choices)
    if "out_dir" in typed_values[1] and len(stages) > 1:
        raise ConfigError(
            "command line: out_dir is the folder of one stage; choose one with stage=, or set run_dir"
        )
    runs = [_typed([*stage_layers(root, recipe, stage, choices), typed_values]) for stage in stages]
    _refuse_unread(runs, choices, typed_values[1])
    for run in runs:
        _resolve_previous(run, {other.stage: other.out_dir for other in runs})
    return runs


def reload(path: Path) -> RunConfig:
    """The run whose resolved config was saved at `path`."""
    return _typed([(str(path), load_file(path))])


def save(cfg: RunConfig, path: Path) -> None:
    """Write `cfg` so that `reload(path)`, or `config=path` on the command line, is the same run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, OmegaConf.to_yaml(OmegaConf.create(asdict(cfg))))


def digest(cfg: RunConfig) -> str:
    """A short hash of all that decides what is learnt: equal for the same training, however it is spread."""
    return hashlib.sha256(json.dumps(learnt(cfg), sort_keys=True).encode()).hexdigest()[:16]


def learnt(cfg: RunConfig) -> dict[str, Any]:
    """All that decides what is learnt, by dotted keys."""
    content = _flat(asdict(cfg))
    for key in content.keys() & set(PATH_KEYS):
        content[key] = _place(content[key], cfg.run_dir)
    if (llm := content.get("llm.path")) is not None and Path(llm).is_dir():  # else a hub id
        content["llm.path"] = _place(llm, cfg.run_dir)
    content["devices * num_nodes * grad_accum"] = (cfg.devices or 1) * (cfg.num_nodes or 1) * cfg.grad_accum
    left_out = ("reader.", "data.noise") if not content.get("data.noise.root") else ("reader.",)
    if cfg.task == "init":
        content = {key: value for key, value in content.items() if key.split(".")[0] in INIT_KEYS}
    return {
        key: value
        for key, value in content.items()
        if key not in PLACE_KEYS and not key.startswith(left_out) and not _as_before(key, value)
    }


def _as_before(key: str, value: Any) -> bool:
    """Whether a later key says what was done before there was such a key."""
    return key in LATER_KEYS and value == LATER_KEYS[key]


def _place(path: str | None, run_dir: str) -> str | None:
    """Where `path` is, seen from the run's folder if it lies inside: so a moved run stays the same run."""
    if path is None:
        return None
    place, home = Path(path).resolve(), Path(run_dir).resolve()
    return str(place.relative_to(home) if place.is_relative_to(home) else place)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _typed(layers: list[Layer]) -> RunConfig:
    cfg = _skeleton(layers)
    for source, layer in layers:
        _merge(cfg, source, layer)
    if missing := OmegaConf.missing_keys(cfg):
        raise ConfigError(f"no value given for {', '.join(sorted(missing))}")
    fields = {str(key): _to_object(str(key), cfg) for key in cfg}
    _drop_heads(fields, [name for name, head in fields["heads"].items() if head is None])
    fields.update(dict.fromkeys(UNUSED[fields["task"]]))
    try:
        return RunConfig(**fields)
    except ValueError as error:
        raise ConfigError(f"stage {fields['stage']}: {error}") from None


def _drop_heads(fields: dict[str, Any], names: Iterable[str]) -> None:
    """Take heads that a layer set to null out of `heads`, with what lower layers said of them."""
    for name in names:
        for key, of in (("heads", name), ("lr", name), ("loss", name), ("loss", f"{name}{FROM}")):
            fields[key].pop(of, None)


def _merge(cfg: DictConfig, source: str, layer: DictConfig) -> None:
    try:
        cfg.merge_with(layer)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {_sentence(error, cfg, layer)}") from None


def _sentence(error: OmegaConfBaseException, cfg: DictConfig, layer: DictConfig) -> str:
    """What is wrong with one of a layer's values; OmegaConf names no key where there should be a list."""
    if error.full_key and "AnyNode is not" in str(error):
        value = OmegaConf.select(layer, error.full_key)
        return f"{error.full_key}: must be a list such as [{value}], got {value!r}"
    if error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}"
    for key, value in _flat(OmegaConf.to_container(layer)).items():  # type: ignore[arg-type]
        own = OmegaConf.select(cfg, key, default=None)
        if OmegaConf.is_dict(own) and not isinstance(value, dict | None):
            return f"{key}: has keys of its own, such as {key}.{next(map(str, own), 'name')}, got {value!r}"
    return f"{', '.join(map(str, layer))}: {str(error).splitlines()[0]}"


def _skeleton(layers: list[Layer]) -> DictConfig:
    """RunConfig with the chosen plugin's dataclass in each slot, so that a merge checks their keys too."""
    cfg: DictConfig = OmegaConf.structured(RunConfig)
    untyped = DictConfig({})
    for source, layer in layers:
        _merge(untyped, source, layer)
    for slot, kind in SLOTS.items():
        if untyped.get(slot) is not None:
            cfg[slot] = _plugin(slot, kind, untyped[slot])
    for name, head in (untyped.get("heads") or {}).items():
        cfg.heads[name] = None if head is None else _plugin(f"heads.{name}", "heads", head)
    for key, path in SECTIONS.items():
        module, _, cls = path.partition(":")
        OmegaConf.update(cfg, key, OmegaConf.structured(getattr(importlib.import_module(module), cls)))
    return cfg


def _plugin(slot: str, kind: str, chosen: Any) -> DictConfig:
    if not isinstance(chosen, DictConfig):
        raise ConfigError(f"{slot}: expected the fields of a plugin, got {chosen!r}")
    if chosen.get("name") is None:
        group = slot.split(".")[0]
        how = f"add {slot}=<a file of configs/{group}>" if group in SLOTS else f"add {slot}.name="
        raise ConfigError(f"{slot}: nothing chosen; {how}")
    try:
        plugin: DictConfig = OmegaConf.structured(lookup(kind, chosen.name))
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{slot}.name={chosen.name}: cannot be imported: {error}") from error
    return plugin


def _to_object(key: str, cfg: DictConfig) -> Any:
    try:
        value = cfg[key]
        return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or key}: {str(error).splitlines()[0]}") from None
    except ValueError as error:  # from a __post_init__, which knows only its own fields
        raise ConfigError(f"{key}: {error}") from None


def _refuse_unread(runs: list[RunConfig], choices: Iterable[str], values: DictConfig) -> None:
    """Refuse what the command line sets for stages or modules that this command does not train."""
    stages = ", ".join(run.stage for run in runs)
    for key in (*choices, *map(str, values)):
        if all(key in UNUSED[run.task] for run in runs):
            raise ConfigError(f"command line: {key}: no stage that runs here reads it ({stages})")
    for module in map(str, values.get("lr") or ()):
        if all(module not in run.train for run in runs):
            raise ConfigError(f"command line: lr.{module}: no stage that runs here trains it ({stages})")


def _resolve_previous(run: RunConfig, out_dirs: dict[str, str]) -> None:
    """Replace `init_from: previous` by the folder itself, so that the saved config stands alone."""
    if run.init_from != "previous":
        return
    position = run.stages.index(run.stage)
    if position == 0:
        raise ConfigError(f"init_from: previous: {run.stage} is the first stage of recipe {run.recipe}")
    before = run.stages[position - 1]
    run.init_from = str(Path(out_dirs.get(before, f"{run.run_dir}/{before}")) / "model")
