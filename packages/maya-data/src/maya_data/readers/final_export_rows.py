"""Joins metadata and locators of a final-export shard, and completes what the metadata do not say."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from maya_data.readers import SCHEMA
from maya_data.readers.header import UNKNOWN, part_info
from maya_data.readers.left_out import LeftOut

LENGTHS = ("duration", "num_samples", "sampling_rate")


def join(metadata: pa.Table, locators: pa.Table, shard: str, left_out: LeftOut) -> pa.Table:
    """Join by id, in the order of the bytes; ids without audio come last, with size 0.

    Rows whose id was there before and audio without a transcript are counted and left out.
    """
    ids = metadata["id"].cast(pa.large_string())
    place = pc.index_in(ids, value_set=locators["id"])
    first = pc.equal(pc.index_in(ids, value_set=ids), pa.array(np.arange(len(ids)), pa.int32()))
    _count(left_out, "id met twice", shard, ids.filter(pc.invert(first)))
    unknown = pc.invert(pc.is_in(locators["id"], value_set=ids))
    _count(left_out, "no metadata for the audio", shard, locators["id"].filter(unknown))
    rows, place = metadata.filter(first), place.filter(first)
    end = pc.max(pc.add(locators["offset"], locators["size"]).cast(pa.int64())).as_py() or 1
    for column, absent in (("offset", end), ("size", 0)):
        rows = rows.append_column(column, pc.fill_null(locators[column].cast(pa.int64()).take(place), absent))
    return rows.sort_by("offset")


def _count(left_out: LeftOut, reason: str, shard: str, ids: Any) -> None:
    for name in ids.to_pylist():
        left_out.add(reason, f"{shard}: {name}")


def with_lengths(rows: pa.Table, tar: Any) -> pa.Table:
    """Complete duration, num_samples and sampling_rate; audio is looked at where metadata do not suffice."""
    known = {name: _numbers(rows[name]) for name in LENGTHS if name in rows.column_names}
    rate = known.get("sampling_rate", np.full(len(rows), np.nan))
    samples = known.get("num_samples", np.full(len(rows), np.nan))
    duration = known.get("duration", np.full(len(rows), np.nan))
    absent = np.isnan(rate) | (np.isnan(duration) & np.isnan(samples))
    places = zip(rows["offset"].to_pylist(), rows["size"].to_pylist(), strict=True)
    for row, (offset, size) in enumerate(places):
        if absent[row]:
            own_rate, own_samples = part_info(tar, offset, size) if size else UNKNOWN
            rate[row] = own_rate
            samples[row] = own_samples if np.isnan(duration[row]) else np.nan
    duration = np.where(np.isnan(duration), np.nan_to_num(samples) / np.maximum(rate, 1), duration)
    whole = np.rint(np.nan_to_num(duration * rate, posinf=0, neginf=0))
    samples = np.where(np.isnan(samples), whole, samples)
    rows = rows.drop_columns([name for name in known if name in rows.column_names])
    for name, values in zip(LENGTHS, (duration, samples, rate), strict=True):
        rows = rows.append_column(name, pa.array(values))
    return rows


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return the values, NaN where there is none."""
    numbers: npt.NDArray[np.float64] = column.cast(pa.float64()).fill_null(np.nan).to_numpy().copy()
    return numbers


def finish(rows: pa.Table, defaults: Mapping[str, Any]) -> pa.Table:
    """Bring the columns to `SCHEMA`, with defaults for those that are absent or null."""
    columns = []
    for field in SCHEMA:
        if field.name not in rows.column_names:
            columns.append(pa.array([defaults[field.name]] * len(rows), field.type))
            continue
        column = rows[field.name].cast(field.type, safe=False)
        empty = defaults.get(field.name, "" if field.name in ("id", "text") else 0)
        columns.append(column.fill_null(pa.scalar(empty, field.type)))
    return pa.table(columns, schema=SCHEMA).combine_chunks()
