"""Reader of audio files with transcript tables: LJSpeech, LibriTTS-R, VCTK, EARS, Expresso and the like."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from maya_data.audio import files
from maya_data.readers import ShardRows
from maya_data.readers.audio_files import WILD, fill, find, forget, unused, without_suffix
from maya_data.readers.columns import TABLE_ALIASES, TABLE_COLUMNS, check_columns, resolve
from maya_data.readers.header import file_info
from maya_data.readers.languages import code_of, lang_in_path
from maya_data.readers.left_out import LeftOut
from maya_data.readers.lines import file_of, pieces
from maya_data.readers.reading import Reading, found, known_root, of_langs, patterns_of, stamp
from maya_data.readers.rows import Rows
from maya_data.readers.tables import (
    Place,
    Record,
    document_records,
    file_records,
    header,
    json_records,
    table_records,
)
from maya_data.text import profile

JSON_LINES = (".jsonl", ".jsonl.gz", ".ndjson")


@dataclass(kw_only=True)
class Folder(Reading):
    """Audio files, and tables that give their transcripts."""

    name: str = "folder"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI that everything is relative to."""
    transcripts: Any = "**/metadata.csv"
    """Glob of the transcript files: separated text, `.jsonl` or `.json`."""
    separator: str | None = "\t"
    """Between the columns; quotes count only with a comma; null: a file is one text, its name the id."""
    header: bool = False
    """Whether the first line names the columns; without, they are called 0, 1, ..."""
    columns: dict[str, str | int] = field(default_factory=dict)
    """Our column name -> the table's, where neither the aliases nor id=0, text=1 fit."""
    audio: str = "{id}"
    """Audio file seen from the transcripts' folder; may hold {id}, {speaker}, a column's {name}, globs."""
    id: str = "{id}"
    """How ids are made: {id} of the table, {folder} of the audio file, {speaker}, a column's {name}."""
    speaker: str | None = None
    """Regular expression with one group that finds the speaker in the id; null: the speaker column."""
    domain: str | None = None
    """Regular expression with one group that finds the domain in the id; null: the domain column."""
    lang: str | None = None
    """Language of all rows; null: the language column, else what a folder's name says."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    corpus: str = ""
    """Corpus of all rows; empty: the corpus column."""
    sampling_rate: int | None = None
    """Hz of all files, so that files need not be opened where the table has durations; null: look at each."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse unknown columns, profiles, and expressions that cannot be compiled or have no group."""
        profile(self.text)
        check_columns(self.columns, TABLE_COLUMNS)
        for setting in ("speaker", "domain"):
            _check_expression(setting, getattr(self, setting))
        if self.separator == "":
            raise ValueError(
                "`separator` is a text between columns, or null where a file is one text; got ''"
            )

    def shards(self) -> list[str]:
        """Return the transcript files, long ones in pieces, single texts by folder; sorted."""
        forget()
        names = found(self.root, self.transcripts, "transcripts")
        if self.separator is None:
            shards = sorted({f"{posixpath.dirname(name)}/" for name in names})
        else:
            whole = [name for name in names if name.endswith(".json")]
            rest = [name for name in names if not name.endswith(".json")]
            shards = sorted(whole) + pieces(self.root or "", rest)
        return of_langs(shards, None if self.lang else self.langs, lang_in_path, self.root)

    def signature(self, shard: str) -> str:
        """Return the settings and the stamps of the transcripts: while they stay, they are taken as read."""
        names = self._texts(shard) if self.separator is None else [file_of(shard)]
        return stamp(known_root(self.root), names, self.settings())

    def read(
        self, shard: str, extras: bool = False, durations: Mapping[str, float] | None = None
    ) -> ShardRows:
        """Return the rows of one transcript file, piece of one, or folder of single texts.

        Args:
            shard: As `shards` names it.
            extras: Whether the table's other columns are wanted as well.
            durations: Seconds by the table's id, where the table does not hold them.
        """
        left_out = LeftOut()
        rows, used = Rows(left_out), set()
        folder = posixpath.dirname(file_of(shard))
        for place, record in self._records(shard, left_out):
            if durations and record["id"] in durations:
                record["duration"] = str(durations[record["id"]])
            used.update(self._add(rows, folder, place, record, extras))
        if WILD.search(self.audio) and "{" not in self.audio.replace("{id}", "") and self.shards() == [shard]:
            for name in unused(known_root(self.root), self.audio, folder, used):
                left_out.add("no transcript for the audio", name)
        return rows.finish(shard, whole=self.separator is not None and file_of(shard) == shard)

    def _texts(self, shard: str) -> list[str]:
        """Return the single texts in a folder."""
        patterns = patterns_of(self.transcripts, "transcripts")
        folder = files.join(known_root(self.root), shard.removesuffix("/"))
        names = {name for item in patterns for name in files.list_files(folder, posixpath.basename(item))}
        return sorted(posixpath.join(shard, name).removeprefix("/") for name in names)

    def _records(self, shard: str, left_out: LeftOut) -> Iterator[tuple[Place, Record]]:
        """Yield the records under our column names, with the table's own names beside them."""
        root, name = known_root(self.root), file_of(shard)
        if self.separator is None:
            records, names = file_records(root, self._texts(shard), left_out), ["id", "text"]
        elif name.endswith(JSON_LINES):
            records, names = json_records(root, shard, left_out), None
        elif name.endswith(".json"):
            records, names = document_records(root, name), None
        else:
            records = table_records(root, shard, self.separator, self.header, left_out)
            names = header(root, name, self.separator) if self.header else None
        numbered = names is None and not name.endswith((".json", *JSON_LINES))
        aliases = {"id": ("0",), "text": ("1",)} if numbered else TABLE_ALIASES
        chosen = {ours: str(theirs) for ours, theirs in self.columns.items()}
        for place, record in records:
            ours = resolve(record, aliases | {key: () for key in chosen if key not in aliases}, chosen)
            if missing := [column for column in ("id", "text") if column not in ours]:
                left_out.add(f"no column for `{missing[0]}`; set reader.columns", place())
                continue
            yield place, record | {key: record[theirs] for key, theirs in ours.items()}

    def _add(self, rows: Rows, folder: str, place: Place, record: Record, extras: bool) -> list[str]:
        """Add a row for each audio file of a record; return the files."""
        record = record | {
            "speaker": _group(self.speaker, without_suffix(record["id"])) or record.get("speaker", "")
        }
        root = known_root(self.root)
        paths = find(root, self.audio, folder, record)
        if not paths:
            rows.left_out.add("no audio for the transcript", f"{place()}: {record['id']}")
        for path, size in paths:
            parts = {"folder": posixpath.basename(posixpath.dirname(path))}
            name = fill(self.id, record | parts | {"id": without_suffix(record["id"])})
            lang = self.lang or code_of(record.get("lang", "")) or lang_in_path(path)
            if self.langs is not None and lang not in self.langs:
                continue
            row = {
                "id": name,
                "shard": path,
                "size": size,
                "text": record["text"],
                "lang": lang,
                "corpus": self.corpus or record.get("corpus", ""),
                "speaker": _group(self.speaker, name) or record["speaker"],
                "domain": _group(self.domain, name) or record.get("domain", ""),
            }
            rows.add(row | self._lengths(files.join(root, path), record), place, record if extras else None)
        return [path for path, _ in paths]

    def _lengths(self, path: str, record: Record) -> dict[str, float]:
        duration = _number(record.get("duration"))
        if duration is not None and self.sampling_rate:
            return {"duration": duration, "sampling_rate": self.sampling_rate}
        rate, samples = file_info(path)
        known: dict[str, float] = {"sampling_rate": rate, "num_samples": samples}
        return known if duration is None else {**known, "duration": duration}


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _group(expression: str | None, name: str) -> str:
    match = re.search(expression, name) if expression else None
    return (match[1] or "") if match else ""


def _check_expression(setting: str, expression: str | None) -> None:
    try:
        if expression is not None and re.compile(expression).groups != 1:
            raise ValueError(f"`{setting}` is a regular expression with one group, got {expression!r}")
    except re.error as error:
        raise ValueError(f"`{setting}` is no regular expression: {expression!r} ({error})") from error
