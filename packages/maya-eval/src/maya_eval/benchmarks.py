"""Benchmarks as YAML: a reader with its settings, the folders it reads, where the data are to be had.

A file holds `name`, `where`, `root` and `reader` (its `name` and fields); where needed also `langs` (code ->
what the layout calls the language), `folder` (must exist, one a part) and `sets` (each may overrule `label`,
`langs`, `folder` and `reader`). Texts may hold `{root}`, `{set}`, `{lang}`, `{language}` and `{folder}`.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from maya_eval.plugins import UnknownPlugin, available, find

KEYS = ("name", "where", "root", "langs", "folder", "reader", "sets")
SET_KEYS = ("label", "langs", "folder", "reader")
GROUP = "benchmark"


class BenchmarkError(ValueError):
    """A benchmark that cannot be run: its file is wrong, its reader or its folder is missing."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One set of a benchmark in one language (or in all, where the rows name theirs)."""

    label: str
    """What the column `benchmark` says: Vistaar/Kathbath."""
    lang: str | None
    folder: str | None
    """Must exist before the part is read."""
    reader: dict[str, Any]
    """Name of the reader plugin and its fields."""
    set: str = ""
    """Name of the set in the file; empty where the benchmark has no sets."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark's parts, chosen and ready to be read."""

    name: str
    where: str
    """Where the data are to be had, to stand after "it is to be had at"."""
    root: str
    parts: tuple[Part, ...]
    several: bool
    """Whether the whole benchmark has more than one part, so that ids need their part's name."""
    langs: tuple[str, ...] | None = None
    """Languages to keep of parts whose rows name theirs; all when None."""
    fingerprint: str = ""

    def open(self) -> list[tuple[Part, Any]]:
        """Returns every part with its reader; nothing is read yet."""
        _require(self, self.root)
        for part in self.parts:
            _require(self, part.folder)
        return [(part, self._reader(part)) for part in self.parts]

    def _reader(self, part: Part) -> Any:
        settings = dict(part.reader)
        name = settings.pop("name")
        try:
            plugin = find("readers", name, allow_path=True)
        except UnknownPlugin as error:
            raise BenchmarkError(
                f"benchmark {self.name} needs the reader {name!r}, which no installed package offers (there "
                f"are: {', '.join(sorted(available('readers'))) or 'none'}); it comes with maya-data: "
                "pip install -U 'maya-eval[run]'"
            ) from error
        known = [item.name for item in fields(plugin)]
        for key in settings:
            if key not in known:
                hint = _nearest(key, known)
                raise BenchmarkError(f"benchmark {self.name}: reader {name!r} has no setting {key!r}{hint}")
        return plugin(**settings)


def load_benchmark(
    chosen: str | Path,
    *,
    root: str | Path | None = None,
    langs: Sequence[str] | None = None,
    sets: Sequence[str] | None = None,
    configs: str | Path | None = None,
) -> Benchmark:
    """Returns the benchmark of a YAML file, or of a file's name in `configs/benchmark`.

    Args:
        chosen: path of a YAML file, or a name such as `fleurs`.
        root: where the data lie, instead of what the file says.
        langs: languages to run; all when None.
        sets: sets to run; all when None.
        configs: folder of configs to look names up in.
    """
    path = _find(str(chosen), configs)
    config = _read(path)
    if root is not None:
        config["root"] = str(root)
    parts = list(_parts(config, path))
    wanted = [part for part in parts if _in_langs(part, langs) and _in_sets(part, sets)]
    unknown = [name for name in sets or () if not any(_in_sets(part, [name]) for part in parts)]
    unknown += [lang for lang in langs or () if not any(_in_langs(part, [lang]) for part in parts)]
    if unknown or not wanted:
        lacks = f"no {', '.join(unknown)} in it" if unknown else "nothing to run"
        raise BenchmarkError(f"{path}: {lacks}; {_choice(config, parts)}")
    content = json.dumps([config["name"], [sorted(part.reader.items()) for part in parts]], default=str)
    return Benchmark(
        name=config["name"],
        where=str(config["where"]),
        root=str(config["root"]),
        parts=tuple(wanted),
        several=len(parts) > 1,
        langs=tuple(langs) if langs is not None else None,
        fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
    )


def available_benchmarks(configs: str | Path | None = None) -> dict[str, Path]:
    """Returns the benchmark files by name: of `configs`, of the working folder's tree, of this package."""
    found: dict[str, Path] = {}
    for folder in _folders(configs):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def _folders(configs: str | Path | None) -> Iterator[Path]:
    if configs is not None:
        yield Path(configs) / GROUP
        return
    here = Path.cwd()
    yield from (folder / "configs" / GROUP for folder in (here, *here.parents))
    yield Path(__file__).parent / "configs" / GROUP


def _find(chosen: str, configs: str | Path | None) -> Path:
    if Path(chosen).is_file():
        return Path(chosen)
    found = available_benchmarks(configs)
    if chosen not in found:
        raise BenchmarkError(
            f"no benchmark {chosen!r}: neither a file nor one of {', '.join(sorted(found)) or 'none'}"
            + _nearest(chosen, found)
        )
    return found[chosen]


def _read(path: Path) -> dict[str, Any]:
    try:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    except ImportError as error:
        raise ImportError("reading a benchmark needs omegaconf; pip install 'maya-eval[run]'") from error
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        config = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise BenchmarkError(f"{path}: keys and values were expected ({', '.join(KEYS)})")
    _check_keys(config, KEYS, str(path))
    for key in ("name", "where", "root", "reader"):
        if not config.get(key):
            raise BenchmarkError(f"{path}: no value given for `{key}`")
    return {str(key): value for key, value in config.items()}


def _check_keys(given: Mapping[Any, Any], known: Sequence[str], source: str) -> None:
    for key in given:
        if key not in known:
            raise BenchmarkError(f"{source}: no key {key!r} here{_nearest(str(key), known)}")


def _parts(config: Mapping[str, Any], path: Path) -> Iterator[Part]:
    for name, chosen in (config.get("sets") or {"": {}}).items():
        chosen = chosen or {}
        _check_keys(chosen, SET_KEYS, f"{path}: sets.{name}")
        langs = _langs(chosen.get("langs"), config.get("langs"))
        reader = {**config["reader"], **(chosen.get("reader") or {})}
        if not reader.get("name"):
            raise BenchmarkError(f"{path}: no value given for `reader.name`")
        for lang, language in (langs or {None: ""}).items():
            values = {"root": config["root"], "set": name, "lang": lang or "", "language": language}
            folder = _filled(chosen.get("folder", config.get("folder")), values)
            yield Part(
                label=chosen.get("label") or (f"{config['name']}/{name}" if name else config["name"]),
                lang=lang,
                folder=folder,
                set=str(name),
                reader=_filled(reader, values | {"folder": folder or config["root"]}),
            )


def _langs(chosen: Any, all_langs: Any) -> dict[str | None, str]:
    """Returns code -> the layout's name; a set may list codes of the benchmark's languages."""
    names = all_langs or {}
    names = dict(names) if isinstance(names, Mapping) else {code: code for code in names}
    if isinstance(chosen, Mapping):
        return {str(code): str(name) for code, name in chosen.items()}
    codes = chosen if chosen is not None else names
    return {str(code): str(names.get(code, code)) for code in codes}


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Fills in our four names only: other braces belong to the reader."""
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace(f"{{{name}}}", str(text))
        return value
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    return value


def _in_langs(part: Part, langs: Sequence[str] | None) -> bool:
    return langs is None or part.lang is None or part.lang in langs


def _in_sets(part: Part, sets: Sequence[str] | None) -> bool:
    """A set is chosen by its name in the file, or by what the column `benchmark` says of it."""
    return sets is None or part.set in sets or part.label in sets


def _choice(config: Mapping[str, Any], parts: Sequence[Part]) -> str:
    langs = sorted({part.lang for part in parts if part.lang})
    sets = list(config.get("sets") or {})
    said = [f"its sets are {', '.join(sets)}"] if sets else []
    said += [f"its languages are {', '.join(langs)}"] if langs else []
    return " and ".join(said) or "it has no parts"


def _require(benchmark: Benchmark, folder: str | None) -> None:
    if folder is not None and not Path(folder).exists():
        raise BenchmarkError(
            f"benchmark {benchmark.name}: {folder} is missing; it is to be had at {benchmark.where} "
            "(name another folder with --root, or less of it with --subsets and --langs)"
        )


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(item) for item in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(map(str, known))}"
