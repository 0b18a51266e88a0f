"""`metrics.csv`: a line a logged step, a column a number; for spreadsheets and pandas."""

import csv
from collections.abc import Mapping
from pathlib import Path

Row = dict[str, str]


class CsvFile:
    """Appends rows; a number that comes later, such as a validation's, gets a column then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = self._read_columns()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row."""
        if new := [name for name in values if name not in self._columns and name != "step"]:
            self._widen(new)
        row = {
            "step": str(step),
            **{name: f"{value:.6g}" for name, value in values.items() if name != "step"},
        }
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def resume(self, step: int) -> None:
        """Drop the rows of later steps."""
        if self._columns:
            self._rewrite([row for row in self._rows() if int(row["step"]) <= step])

    def close(self) -> None:
        """Every row is in the file already."""

    def _read_columns(self) -> list[str]:
        if not self._path.is_file():
            return []
        with self._path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])

    def _rows(self) -> list[Row]:
        """Whole rows; what a killed process left of one is dropped."""
        with self._path.open(encoding="utf-8", newline="") as file:
            return [
                row for row in csv.DictReader(file) if (row.get("step") or "").isdigit() and None not in row
            ]

    def _widen(self, names: list[str]) -> None:
        rows = self._rows() if self._columns else []
        self._columns = [*(self._columns or ["step"]), *names]
        self._rewrite(rows)

    def _rewrite(self, rows: list[Row]) -> None:
        part = self._path.with_suffix(".part")
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        part.replace(self._path)
