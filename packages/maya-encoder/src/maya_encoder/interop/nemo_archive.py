"""The members of a `.nemo` archive: a tar, plain or gzipped, of a config, weights and tokenizer files.

Nothing is unpacked and no code of the archive runs: members are read by name, weights through torch's loader
of plain tensors. The folder that such a tar unpacks to is read the same way.
"""

import io
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import yaml  # type: ignore[import-untyped]  # comes with omegaconf, which takes seconds for a vocabulary
from torch import Tensor

from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.safe_pickle import load_tensors

CONFIG_MEMBER = "model_config.yaml"
WEIGHTS_MEMBER = "model_weights.ckpt"
ARTIFACT = "nemo:"
"""What the config writes before the name of a member."""
SMALL = 8 << 20
"""Members of fewer bytes are read while the archive is listed: a gzip stream has no way back."""

_INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")
_RANK = re.compile(r"(?:tp|mp)_rank_\d+")


class NemoArchive:
    """Config, weights and other members of an archive or of an unpacked one.

    Args:
        path: the `.nemo` file, or the folder.

    Raises:
        BadCheckpoint: it is no tar, a member's name or kind is not safe, or there is no config.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.names: set[str] = set()
        self._small: dict[str, bytes] = {}
        if self.path.is_dir():
            self._list_folder()
        else:
            self._list_tar()
        if CONFIG_MEMBER not in self.names:
            raise BadCheckpoint(f"{self.path} is no NeMo archive: it has no {CONFIG_MEMBER}")

    def config(self) -> dict[str, Any]:
        """What model_config.yaml says, with references within it replaced by what they name."""
        try:
            loaded = yaml.load(self.read(CONFIG_MEMBER), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadCheckpoint(f"{self.path}: {CONFIG_MEMBER} is no YAML: {first_line(error)}") from None
        if not isinstance(loaded, dict):
            raise BadCheckpoint(f"{self.path}: {CONFIG_MEMBER} must hold keys and values")
        return cast(dict[str, Any], _resolved(loaded, loaded, 0))

    def artifact(self, reference: Any, key: str) -> bytes:
        """The member that the config names under `key`: `nemo:NAME`, or in old archives the path it had."""
        name = str(reference or "").removeprefix(ARTIFACT)
        name = PurePosixPath(name).name if name not in self.names else name
        if name not in self.names:
            listed = ", ".join(sorted(self.names)[:8])
            raise BadCheckpoint(
                f"{self.path}: {key} is {reference!r}, which is no member of the archive; it has: {listed}"
            )
        return self.read(name)

    def read(self, name: str) -> bytes:
        """The contents of a member."""
        with self.open(name) as stream:
            return stream.read()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A member as a seekable file."""
        if name in self._small:
            yield io.BytesIO(self._small[name])
        elif self.path.is_dir():
            with (self.path / name).open("rb") as stream:
                yield stream
        else:
            with tarfile.open(self.path) as tar:
                member = next(member for member in tar if _clean(member) == name)
                found = cast(IO[bytes], tar.extractfile(member))
                with _seekable(found, self.path) as stream:
                    yield stream

    def weights(self) -> dict[str, Tensor]:
        """The state dict, on the CPU.

        Raises:
            BadCheckpoint: there are no weights, they are in several parts, damaged, or not plain tensors.
        """
        name = self._weights_member()
        with self.open(name) as stream:
            return load_tensors(stream, f"{self.path}: {name}")

    def _weights_member(self) -> str:
        if WEIGHTS_MEMBER in self.names:
            return WEIGHTS_MEMBER
        ranks = sorted(name for name in self.names if _RANK.match(name) and name.endswith(WEIGHTS_MEMBER))
        if len(ranks) == 1:
            return ranks[0]
        if ranks:
            raise BadCheckpoint(
                f"{self.path} holds the weights in {len(ranks)} parts, one a GPU of a model-parallel run"
                f" ({ranks[0]} and more): save it anew with NeMo at tensor and pipeline parallel size 1"
            )
        raise BadCheckpoint(f"{self.path} is no whole NeMo archive: it has no {WEIGHTS_MEMBER}")

    def _list_tar(self) -> None:
        try:
            with tarfile.open(self.path) as tar:
                for member in tar:
                    self._add(tar, member)
        except FileNotFoundError:
            raise BadCheckpoint(f"{self.path} does not exist") from None
        except (tarfile.TarError, EOFError, OSError) as error:
            raise BadCheckpoint(
                f"{self.path} is no tar archive, or a damaged one: {first_line(error)}"
            ) from None

    def _add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        _check_safe(member, self.path)
        if member.isfile():
            self.names.add(_clean(member))
            if member.size < SMALL:
                self._small[_clean(member)] = cast(IO[bytes], tar.extractfile(member)).read()

    def _list_folder(self) -> None:
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            if file.is_symlink():
                raise BadCheckpoint(f"{self.path} is refused: its member {name!r} is a link, not a file")
            if file.is_file():
                self.names.add(name)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _clean(member: tarfile.TarInfo) -> str:
    return str(PurePosixPath(member.name))


def _check_safe(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise BadCheckpoint(f"{path} is refused: its member {member.name!r} points outside the archive")
    if not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "a device"
        raise BadCheckpoint(f"{path} is refused: its member {member.name!r} is {kind}, not a file")


@contextmanager
def _seekable(found: IO[bytes], archive: Path) -> Iterator[IO[bytes]]:
    """`found` itself in a plain tar; a copy on disk where seeking would decompress anew."""
    with archive.open("rb") as stream:
        plain = stream.read(262).endswith(b"ustar")
    if plain:
        yield found
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(found, copy)
        copy.seek(0)
        yield cast(IO[bytes], copy)


def _resolved(value: Any, root: Mapping[str, Any], depth: int) -> Any:
    """`value` with every `${a.b}` replaced; what names nothing, or asks for a resolver, stays as it is."""
    if isinstance(value, dict):
        return {key: _resolved(item, root, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, root, depth) for item in value]
    found = _INTERPOLATION.fullmatch(value) if isinstance(value, str) else None
    if found is None or depth > 8:
        return value
    target: Any = root
    for part in found[1].removeprefix("model.").split("."):
        target = target.get(part) if isinstance(target, Mapping) else None
    return value if target is None else _resolved(target, root, depth + 1)
