"""Flattens an `input_cfg` YAML to its leaves: what to read, under which tags, with which weight."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from maya_data.audio import files

INHERITED = ("text_field", "lang_field", "corpus", "language", "lang")
"""Keys of a group that hold for its entries too, where these have none."""
TAG_KEYS = {"corpus": "corpus", "language": "lang", "lang": "lang"}
"""Keys beside `tags` that say the same as a tag."""
PATHS = {
    "nemo": {"manifest_filepath": "manifests"},
    "nemo_tarred": {"manifest_filepath": "manifests", "tarred_audio_filepaths": "tars"},
    "lhotse": {"cuts_path": "cuts"},
    "lhotse_shar": {"shar_path": "cuts"},
}
"""Type -> key of the YAML -> field of the reader."""
SPELLINGS = {"tarred_audio_filepath": "tarred_audio_filepaths"}
SILENT = ("type", "weight", "tags", "input_cfg", "text_field", "lang_field", *TAG_KEYS, *SPELLINGS)


@dataclass(frozen=True)
class Leaf:
    """One set of data."""

    place: str
    """Where it stands: file, and numbers of the entries from 0."""
    kind: str
    settings: dict[str, Any]
    """Fields of the reader."""
    tags: dict[str, Any]
    weight: float
    """Share of its group, times that of the groups around; alike in a group that weighs nothing."""
    weighed: bool
    """Whether a weight was given, here or in a group around."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Around:
    """What the groups around an entry say."""

    root: str
    inherited: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    weighed: bool = False


def leaves(path: str, root: str) -> list[Leaf]:
    """Return the leaves of a YAML, those of nested groups and of YAMLs named by groups too.

    Raises:
        ValueError: The file is no `input_cfg`; the message names the entry.
    """
    return list(_group(_load(path), path, _Around(root)))


def _load(path: str) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        loaded = OmegaConf.create(files.read_bytes(path).decode())
        return OmegaConf.to_container(loaded, resolve=True)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def _group(entries: Any, place: str, around: _Around) -> Iterator[Leaf]:
    if isinstance(entries, str):
        path = files.join(around.root, entries)
        entries, place = _load(path), path
    if isinstance(entries, Mapping) and "input_cfg" in entries:
        entries = entries["input_cfg"]
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(entry, Mapping) for entry in entries)
    ):
        raise ValueError(f"{place}: a list of entries was expected, got {str(entries)[:80]!r}")
    weighed = around.weighed or entries[0].get("weight") is not None
    for number, (entry, share) in enumerate(zip(entries, _shares(entries, place), strict=True)):
        inside = replace(around, weight=around.weight * share, weighed=weighed)
        yield from _entry(entry, f"{place}[{number}]", inside)


def _entry(entry: Mapping[str, Any], place: str, around: _Around) -> Iterator[Leaf]:
    entry = {**around.inherited, **{SPELLINGS.get(key, key): value for key, value in entry.items()}}
    own = {tag: entry[key] for key, tag in TAG_KEYS.items() if entry.get(key)}
    # The tags of a group overrule those inside: NeMo attaches them last.
    tags = {**own, **(entry.get("tags") or {}), **around.tags}
    kind = entry.get("type") or ("nemo_tarred" if entry.get("tarred_audio_filepaths") else "nemo")
    if kind == "group":
        passed = {key: entry[key] for key in INHERITED if key in entry}
        yield from _group(entry.get("input_cfg"), place, replace(around, inherited=passed, tags=tags))
    elif kind in PATHS:
        yield from _leaf(kind, entry, place, replace(around, tags=tags))
    else:
        raise ValueError(
            f"{place}: type {kind!r} holds no sound that can be indexed; there are: {', '.join(PATHS)}, group"
        )


def _leaf(kind: str, entry: Mapping[str, Any], place: str, around: _Around) -> Iterator[Leaf]:
    """Yield the leaves of one entry: several where it lists sets of manifests, which may have own weights."""
    for key in PATHS[kind]:
        if not entry.get(key):
            raise ValueError(f"{place}: type {kind!r} needs `{key}`")
    sets = {theirs: _paths(entry[key]) for key, theirs in PATHS[kind].items()}
    number = max(map(len, sets.values()))
    if any(len(items) not in (1, number) for items in sets.values()):
        raise ValueError(f"{place}: the lists of {' and '.join(PATHS[kind])} differ in length")
    weights = [weight for _, weight in next(iter(sets.values()))]
    total = sum(weight or 0.0 for weight in weights)
    ignored = [key for key in entry if key not in (*SILENT, *PATHS[kind])]
    for i in range(number):
        settings: dict[str, Any] = {key: items[min(i, len(items) - 1)][0] for key, items in sets.items()}
        settings |= {key: entry[key] for key in ("text_field", "lang_field") if key in entry}
        if kind == "lhotse_shar":
            settings = {"cuts": [f"{path.rstrip('/')}/cuts.*.jsonl*" for path in settings["cuts"]]}
        share = (weights[i] or 0.0) / total if total else 1.0 / number
        notes = [f"{key}={entry[key]!r} has no meaning for an index" for key in ignored] if not i else []
        weighed = around.weighed or total > 0
        yield Leaf(place, kind, settings, dict(around.tags), around.weight * share, weighed, notes)


def _paths(value: Any) -> list[tuple[list[str], float | None]]:
    """Return `(paths, weight)` of each set in `"a,b"`, `[a, b]`, `[[a], [b]]` or `[[a, 2.0], [b, 1.0]]`."""
    if isinstance(value, Mapping):  # Shar's fields: {cuts: [...], recording: [...]}
        value = [posixpath.dirname(path) for path in value.get("cuts", [])]
        return [(list(dict.fromkeys(value)), None)]
    if isinstance(value, str):
        return [(_split(value), None)]
    if all(isinstance(item, str) for item in value):
        return [([path for item in value for path in _split(item)], None)]
    sets = []
    for item in value:
        item = [item] if isinstance(item, str) else list(item)
        weighed = len(item) == 2 and isinstance(item[1], int | float)
        sets.append((_split(item[0]), float(item[1]) if weighed else None))
    return sets


def _split(paths: str) -> list[str]:
    """Split at commas outside of braces."""
    parts, depth = [""], 0
    for char in paths.replace("_OP_", "{").replace("_CL_", "}"):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def _shares(entries: list[Any], place: str) -> list[float]:
    """Return the entries' shares of their group's draws, alike where it has no weights.

    Raises:
        ValueError: Only some have a weight, or one is negative.
    """
    weights = [entry.get("weight") for entry in entries]
    if all(weight is None for weight in weights):
        return [1.0 / len(entries)] * len(entries)
    if None in weights:
        raise ValueError(f"{place}[{weights.index(None)}] has no weight, but others of its group have one")
    numbers = [float(weight) for weight in weights if weight is not None]
    if min(numbers) < 0 or not sum(numbers):
        raise ValueError(f"{place}: weights must be positive numbers, got {numbers}")
    return [number / sum(numbers) for number in numbers]
