"""Transcripts as records of named columns: separated text, JSON lines, JSON, or one file a text."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from maya_data.audio import files
from maya_data.readers import BrokenShard
from maya_data.readers.left_out import LeftOut
from maya_data.readers.lines import Lines, json_lines
from maya_data.readers.reading import open_shard

Record = dict[str, str]
Place = Callable[[], str]
"""Names file and line; called only where a record becomes no row, since counting lines reads the file."""
SAMPLE = 100
"""Lines from which the usual number of columns is told."""


def header(root: str, name: str, separator: str) -> list[str]:
    """Return the names in the first line of a table.

    Raises:
        BrokenShard: The file is missing, empty, or its first line cannot be read.
    """
    ignored = LeftOut()
    first = next(iter(Lines(root, name, ignored)), None)
    if first is None or first[0] != 0:
        raise BrokenShard(f"{files.join(root, name)}: has no header in its first line")
    return [column.strip() for column in split(first[1], separator) or []]


def split(text: str, separator: str, width: int = 0) -> list[str] | None:
    """Return the columns of a line, or None where a quote does not close.

    Quotes mean something only between commas. There a quoted column ends on its line, so that a stray quote
    spoils one line and eats no other. After a space the last of `width` columns takes the rest of the line.
    """
    if separator == ",":
        try:
            return next(csv.reader([text], strict=True))
        except csv.Error:
            return None
    return text.split(separator, width - 1) if separator == " " and width else text.split(separator)


def table_records(
    root: str, piece: str, separator: str, has_header: bool, left_out: LeftOut
) -> Iterator[tuple[Place, Record]]:
    """Yield `(place, columns)` of a table's lines; without a header the columns are named "0", "1", ..."""
    lines = Lines(root, piece, left_out)
    names = header(root, lines.name, separator) if has_header else _numbers(root, lines.name, separator)
    for number, text in lines:
        if has_header and lines.start + number == 0:
            continue
        columns = split(text, separator, len(names))
        if columns is None:
            lines.damaged(number, "a quote does not close")
        elif len(columns) != len(names):
            lines.damaged(number, f"the usual number of columns is {len(names)}, got {len(columns)}")
        else:
            yield partial(lines.place, number), dict(zip(names, columns, strict=True))


def _numbers(root: str, name: str, separator: str) -> list[str]:
    """Return "0", "1", ... for as many columns as most of the first lines have."""
    if separator == " ":
        return ["0", "1"]
    texts = (split(text, separator) for _, text in Lines(root, name, LeftOut()))
    widths = Counter(len(columns) for columns in islice(texts, SAMPLE) if columns)
    return [str(number) for number in range(widths.most_common(1)[0][0])] if widths else []


def json_records(root: str, piece: str, left_out: LeftOut) -> Iterator[tuple[Place, Record]]:
    """Yield the objects of a file of JSON lines."""
    lines = Lines(root, piece, left_out)
    for number, entry in json_lines(lines):
        yield partial(lines.place, number), {key: _text(value) for key, value in entry.items()}


def document_records(root: str, name: str) -> Iterator[tuple[Place, Record]]:
    """Yield the entries of one JSON document: id -> text, id -> columns, or a list of columns.

    Raises:
        BrokenShard: It is missing or not JSON.
    """
    with open_shard(root, name) as file:
        try:
            document = json.loads(file.read())
        except ValueError as error:
            raise BrokenShard(f"{files.join(root, name)}: is not JSON ({error})") from error
    if isinstance(document, dict):
        document = [
            {"id": key, **(value if isinstance(value, dict) else {"text": value})}
            for key, value in document.items()
        ]
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise BrokenShard(f"{files.join(root, name)}: holds neither id -> text nor a list of objects")
    for number, entry in enumerate(document, 1):
        yield f"{name} entry {number}".__str__, {key: _text(value) for key, value in entry.items()}


def file_records(root: str, names: list[str], left_out: LeftOut) -> Iterator[tuple[Place, Record]]:
    """Yield one record a file: its name without suffix as `id`, all it holds as `text`."""
    for name in names:
        with open_shard(root, name) as file:
            try:
                text = file.read().decode("utf-8-sig")
            except UnicodeDecodeError:
                left_out.add("damaged transcript: it is not UTF-8", name)
                continue
        yield name.__str__, {"id": name.rsplit("/", 1)[-1].split(".", 1)[0], "text": " ".join(text.split())}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
