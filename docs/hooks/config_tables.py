"""Puts a table in place of every line `::config module:Class`: the fields of that dataclass, from its source.

The meaning of a field is the string under it, which only the source holds: it is parsed, nothing is imported.
"""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

MARKER = re.compile(r"^::config (?P<module>[\w.]+):(?P<name>\w+)$", re.MULTILINE)


def source_class(module: str, name: str) -> ast.ClassDef:
    """Return the class's syntax tree; LookupError where there is none."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"no module {module}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"no class {name} in {module}")


def default_of(value: ast.expr | None) -> str:
    """Return a default as one would write it in YAML."""
    if value is None:
        return "required"
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        made = {word.arg: word.value for word in value.keywords}
        if "default" in made:
            return default_of(made["default"])
        factory = made["default_factory"]
        text = ast.unparse(factory.body if isinstance(factory, ast.Lambda) else factory)
        return {"dict": "{}", "list": "[]", "tuple": "()"}.get(text, text)
    text = ast.unparse(value)
    return {"None": "null", "True": "true", "False": "false"}.get(text, text)


def fields(node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and meaning of each field, in their order."""
    rows = []
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        meaning = " ".join(str(after.value.value).split()) if described else ""
        if not statement.target.id.startswith("_") and "ClassVar" not in ast.unparse(statement.annotation):
            kind = ast.unparse(statement.annotation)
            rows.append((statement.target.id, kind, default_of(statement.value), meaning))
    return rows


def table(match: re.Match[str]) -> str:
    """Return one dataclass as a Markdown table under its summary."""
    node = source_class(match["module"], match["name"])
    lines = [
        (ast.get_docstring(node) or "").splitlines()[0],
        "",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for cells in fields(node):
        name, kind, default, meaning = (cell.replace("|", "\\|") for cell in cells)
        lines.append(f"| `{name}` | `{kind}` | `{default}` | {meaning} |")
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs for every page."""
    return MARKER.sub(table, markdown)
