"""Sources of an index: a named reader each, given in Python or in a YAML file."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maya_data.plugins import find

DEFAULT_TEXT = "asr-v1"
"""Text profile of sources that name none."""
READER_CONFIGS = Path("configs", "reader")
"""Where `config: <name>` is looked for: in the folders of the YAML file and of work, and in those above."""


@dataclass(kw_only=True)
class Source:
    """One part of an index."""

    name: str = "source"
    """Name in index.json; `root` may be overruled by it."""
    reader: str = "final_export"
    """Name of a reader plugin, or `module:Class`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of the reader, `root` among them."""

    def __post_init__(self) -> None:
        """Refuse a source without a name."""
        if not self.name:
            raise ValueError("a source needs a name, got an empty one")

    def open(self) -> Any:
        """Return the reader.

        Raises:
            UnknownPlugin: There is no such reader.
            ValueError: A setting is unknown or refused.
        """
        made = find("readers", self.reader, allow_path=True)
        if dataclasses.is_dataclass(made):
            known = [each.name for each in dataclasses.fields(made)]
            for key in self.settings:
                if key not in known:
                    raise ValueError(f"source {self.name}: {_no_setting(self.reader, key, known)}")
        try:
            return made(**self.settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"source {self.name}: {error}") from error


def read_sources(path: str | Path) -> list[Source]:
    """Return the sources of a YAML file: `sources: {<name>: {reader: <plugin>, root: ..., ...}}`.

    A source may say `config: <name>` for the settings of `configs/reader/<name>.yaml`; what stands beside
    overrules them. `text: <profile>` beside `sources` names the text profile of all.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is no such YAML.
    """
    path = Path(path)
    given = _load(path)
    if unknown := [key for key in given if key not in ("sources", "text")]:
        raise ValueError(f"{path} has {unknown[0]!r}; it may have `sources` and `text`")
    sources, text = given.get("sources"), given.get("text")
    if not isinstance(sources, dict) or not sources:
        raise ValueError(f"{path} has no `sources`; expected `sources: {{name: {{reader: ..., root: ...}}}}`")
    return [_source(path, str(name), settings, text) for name, settings in sources.items()]


def as_sources(given: Any) -> list[tuple[str, Any]]:
    """Return `(name, reader)` of a reader, a source, or several of them; names are made distinct.

    Raises:
        ValueError: There is none, or two sources have one name.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str)
    each = [_named(one) for one in (given if several else [given])]
    names = [name for name, _ in each]
    if not each:
        raise ValueError("no source to index; give at least one")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two sources are named {twice[0]!r}; give each a name of its own")
    return each


def _named(one: Any) -> tuple[str, Any]:
    if isinstance(one, Source):
        return one.name, one.open()
    return str(getattr(one, "name", None) or type(one).__name__), one


def _source(path: Path, name: str, given: Any, text: str | None) -> Source:
    if not isinstance(given, dict):
        raise ValueError(f"{path}: source {name} must be a mapping with `reader` and `root`, got {given!r}")
    settings: dict[str, Any] = ({"text": text} if text else {}) | given
    if "reader" not in settings and (config := settings.pop("config", None)) is not None:
        settings = _load(_reader_config(path, name, str(config)), text or DEFAULT_TEXT) | settings
    reader = settings.pop("reader", None) or settings.get("name")
    settings.pop("name", None)
    if not isinstance(reader, str):
        raise ValueError(f"{path}: source {name} has no `reader`")
    return Source(name=name, reader=reader, settings=settings)


def _reader_config(path: Path, source: str, config: str) -> Path:
    """Return where `configs/reader/<config>.yaml` is."""
    folders = [*path.absolute().parents, *Path.cwd().parents, Path.cwd()]
    found = [folder / READER_CONFIGS / f"{config}.yaml" for folder in folders]
    there = [file for file in found if file.is_file()]
    if not there:
        known = sorted({file.stem for folder in folders for file in (folder / READER_CONFIGS).glob("*.yaml")})
        close = difflib.get_close_matches(config, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{path}: source {source} asks for {READER_CONFIGS}/{config}.yaml; not found.{hint}")
    return there[0]


def _load(path: Path, text: str = DEFAULT_TEXT) -> dict[str, Any]:
    """Return the mapping in a YAML file; `${text}` in it is the text profile."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        file: Any = OmegaConf.load(path)
        if OmegaConf.is_dict(file) and not OmegaConf.is_interpolation(file, "text"):
            text = file.get("text") or text
        made = OmegaConf.to_container(OmegaConf.create({"text": text, "file": file}).file, resolve=True)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {_one_line(error)}") from error
    if not isinstance(made, Mapping):
        raise ValueError(f"{path} must hold a mapping, got {type(made).__name__}")
    return {str(key): value for key, value in made.items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _no_setting(reader: str, key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(known)}"
    return f"the reader {reader} has no setting {key!r}; {hint}"


def settings_of(reader: Any) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a reader that decide on the rows of a shard."""
    if dataclasses.is_dataclass(reader) and not isinstance(reader, type):
        for each in dataclasses.fields(reader):
            if each.name not in ("name", "root", "text", "langs"):
                yield each.name, getattr(reader, each.name)
