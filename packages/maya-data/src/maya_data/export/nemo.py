"""NeMo's tarred layout over the tars that are there: links and manifests, no audio is copied.

NeMo wants tars called `audio_<n>.tar` with n from 0 without a gap. In paths it expands
`_OP_0..N_CL_`, not `*`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from maya_data.audio.files import exists, is_uri
from maya_data.export.folder import Exported, Progress, new_folder, run
from maya_data.export.nemo_lines import Line, file_lines, tar_lines
from maya_data.export.shards import rows_by_shard
from maya_data.export.spelling import Texts, check_texts
from maya_data.indexing.segments import SegmentIndex

EXPANDED = "{}[]()<>"
"""NeMo reads each of these in a path as the start or the end of a range."""
NO_MEMBER = "no member of the tar begins at their byte"


@dataclass(frozen=True)
class Tar:
    """One tar, the rows of the index that lie in it, and where it goes."""

    path: str
    rows: Sequence[int]
    folder: Path
    number: int


@dataclass
class Group:
    """What goes into one folder, and so into one entry of `input_cfg.yaml`."""

    tars: list[Tar] = field(default_factory=list)
    segments: Counter[str] = field(default_factory=Counter)
    """`nemo_tarred` and `nemo` (files outside tars) -> segments."""


@dataclass(kw_only=True)
class NemoExport:
    """How NeMo's manifests are made."""

    by: Literal["none", "lang"] = "none"
    """`lang` makes a folder and an entry of input_cfg.yaml for each language, `mul` for tars with several."""
    texts: Texts = "raw"
    """`raw` as in the source, `profile` as the text profile of the index spells them."""

    def __post_init__(self) -> None:
        """Refuse unknown settings."""
        check_texts(self.texts)
        if self.by not in ("none", "lang"):
            raise ValueError(f"`by` must be none or lang, got {self.by!r}")


def export_nemo(
    index: SegmentIndex,
    out_dir: str | Path,
    settings: NemoExport | None = None,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write `audio_<n>.tar` (links), `manifest_<n>.json` and `input_cfg.yaml`, and return what they hold.

    Audio files outside tars get lines in `files.json` and an entry in `input_cfg_files.yaml`: NeMo does not
    mix the two kinds. Segments that may not be trained on and members that are none are marked `_skipme`.

    Args:
        index: Its audio must be on local disks.
        out_dir: A folder that is empty or not there.
        settings: How the manifests are made.
        executor: Works on several tars at a time; None works here.
        progress: Called with tars done, tars in all and the tar just done.

    Raises:
        ValueError: `out_dir` is not empty or has a name that NeMo would expand, or nothing can be linked.
    """
    out, settings = Path(out_dir).absolute(), settings or NemoExport()
    if found := sorted(set(EXPANDED) & set(str(out))):
        raise ValueError(f"NeMo would expand {found[0]!r} in the path {out}; choose another folder")
    with new_folder(out) as folder:
        exported = Exported(out)
        groups = _groups(index, folder, settings, exported)
        tars = [tar for group in groups.values() for tar in group.tars]
        for tar, part in zip(
            tars, run(partial(_write_tar, index, settings.texts), tars, executor), strict=True
        ):
            exported.add(part)
            if progress:
                progress(exported.shards, len(tars), tar.path)
        exported.check(f"{index.path} is empty")
        _write_input_cfg(folder, out, groups)
    return exported


def _groups(index: SegmentIndex, root: Path, settings: NemoExport, exported: Exported) -> dict[str, Group]:
    """Number the tars of each group; files outside tars are written at once, for nobody looks into them."""
    groups: dict[str, Group] = defaultdict(Group)
    for rows in rows_by_shard(index):
        path = index.location(rows[0])
        if reason := _obstacle(path):
            exported.leave_out(reason, len(rows), f"{path}: {reason}")
            continue
        name = _lang(index, rows) if settings.by == "lang" else ""
        group, folder = groups[name], root / name
        folder.mkdir(exist_ok=True)
        if path.endswith(".tar"):
            group.tars.append(Tar(path, rows, folder, len(group.tars)))
            group.segments["nemo_tarred"] += len(rows)
        else:
            lines = file_lines(index, str(Path(path).absolute()), rows, settings.texts)
            _write_lines(folder / "files.json", lines, "a")
            group.segments["nemo"] += len(rows)
            exported.segments += len(rows)
    return groups


def _obstacle(path: str) -> str:
    """Return why NeMo cannot be given this file, or nothing."""
    if path.partition("#")[0].endswith(".parquet"):
        return "audio inside parquet cannot be linked, `maya-data export shar` copies it"
    if is_uri(path):
        return "audio behind a URI cannot be linked, `maya-data export shar` copies it"
    return "" if exists(path) else "the audio file is missing"


def _lang(index: SegmentIndex, rows: Sequence[int]) -> str:
    langs = {index.name("lang", row) for row in rows}
    return langs.pop() if len(langs) == 1 else "mul"


def _write_tar(index: SegmentIndex, texts: Texts, tar: Tar) -> Exported:
    """Link one tar and write its manifest."""
    (tar.folder / f"audio_{tar.number}.tar").symlink_to(Path(tar.path).resolve())
    rows: dict[int, list[int]] = defaultdict(list)
    for row in tar.rows:
        rows[int(index.columns["offset"][row])].append(row)
    exported, found = Exported(tar.folder, shards=1), set[int | None]()

    def lines() -> Iterable[Line]:
        for line, offset in tar_lines(index, tar.path, rows, tar.number, texts):
            found.add(offset)
            exported.segments += offset is not None
            yield line

    _write_lines(tar.folder / f"manifest_{tar.number}.json", lines())
    for offset in rows.keys() - found:
        name = index.string("id", rows[offset][0])
        problem = f"{tar.path}: segment {name}: no member of the tar begins at byte {offset}"
        exported.leave_out(NO_MEMBER, len(rows[offset]), problem)
    return exported


def _write_lines(path: Path, lines: Iterable[Line], mode: str = "w") -> None:
    with path.open(mode, encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _write_input_cfg(folder: Path, out: Path, groups: dict[str, Group]) -> None:
    """Write what NeMo's `input_cfg` may name; weights are segments, for NeMo draws segments and not hours."""
    for kind, file in (("nemo_tarred", "input_cfg.yaml"), ("nemo", "input_cfg_files.yaml")):
        entries = []
        for name, group in sorted(groups.items()):
            if weight := group.segments[kind]:
                tags = {"tags": {"lang": name}} if name not in ("", "mul") else {}
                entries.append(
                    {"type": kind} | _paths(kind, out / name, len(group.tars)) | {"weight": weight} | tags
                )
        if entries:
            OmegaConf.save(OmegaConf.create(entries), folder / file)


def _paths(kind: str, folder: Path, tars: int) -> dict[str, Any]:
    if kind == "nemo":
        return {"manifest_filepath": f"{folder}/files.json"}
    numbers = f"_OP_0..{tars - 1}_CL_"
    return {
        "manifest_filepath": f"{folder}/manifest_{numbers}.json",
        "tarred_audio_filepaths": f"{folder}/audio_{numbers}.tar",
        "skip_missing_manifest_entries": True,  # a folder inside a tar can have no line
    }
