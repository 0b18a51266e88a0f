"""Puts a table in place of every line `::config module:Class`: the fields of that dataclass, from its source.

The meaning of a field is the string under it, which only the source holds: it is parsed, nothing is imported.
"""

import ast
import re

from sources import find_class

MARKER = re.compile(r"^::config (?P<module>[\w.]+):(?P<name>\w+)$", re.MULTILINE)

Row = tuple[str, str, str]
"""Type, default and meaning of a field."""


def default_of(value: ast.expr | None) -> str:
    """Return a default as one would write it in YAML."""
    if value is None:
        return "required"
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        made = {word.arg: word.value for word in value.keywords}
        if "default" in made:
            return default_of(made["default"])
        if "default_factory" not in made:
            return "required"
        factory = made["default_factory"]
        text = ast.unparse(factory.body if isinstance(factory, ast.Lambda) else factory)
        return {"dict": "{}", "list": "[]", "tuple": "()"}.get(text, text)
    text = ast.unparse(value)
    return {"None": "null", "True": "true", "False": "false"}.get(text, text)


def fields(module: str, name: str) -> dict[str, Row]:
    """Return the fields of a class in their order, those of its bases first."""
    home, node = find_class(module, name)
    rows: dict[str, Row] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id not in ("Generic", "Protocol", "NamedTuple"):
            rows |= fields(home, base.id)
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        kind = ast.unparse(statement.annotation)
        described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        meaning = " ".join(str(after.value.value).split()) if described else ""
        if not statement.target.id.startswith("_") and "ClassVar" not in kind:
            rows[statement.target.id] = (kind, default_of(statement.value), meaning)
    return rows


def table(match: re.Match[str]) -> str:
    """Return one dataclass as a Markdown table under its summary."""
    _, node = find_class(match["module"], match["name"])
    lines = [
        (ast.get_docstring(node) or "").partition("\n")[0],
        "",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, cells in fields(match["module"], match["name"]).items():
        kind, default, meaning = cells  # a bar inside a code span needs no escape
        escaped = meaning.replace("|", "\\|")
        lines.append(f"| `{name}` | `{kind}` | `{default}` | {escaped} |")
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs for every page."""
    return MARKER.sub(table, markdown)
