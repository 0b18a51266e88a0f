"""Puts the public names of a package in place of every line `::public package`, each with its docstring.

The packages import a public name when it is first asked for, from a table {name: module} that this reads:
tools that follow `__all__` find nothing there. `::public module:Name, name` lists names of any other module.
"""

import ast
import re

from sources import module_tree

MARKER = re.compile(r"^::public (?P<module>[\w.]+)(?::(?P<names>[\w, ]+))?$", re.MULTILINE)
TABLES = ("_HOME", "_HOMES")


def homes(package: str) -> dict[str, str]:
    """Return the table {public name: module in the package}."""
    for node in module_tree(package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in TABLES:
            return dict(ast.literal_eval(node.value))
    raise LookupError(f"{package} has no table of public names ({' or '.join(TABLES)})")


def definition(module: str, name: str) -> str:
    """Return the full name of what a module defines, or imports from its own package to hand on."""
    for node in module_tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return f"{module}.{name}"
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return definition(node.module, alias.name)
    return f"{module}.{name}"


def listing(match: re.Match[str]) -> str:
    """Return one directive of mkdocstrings a name."""
    module, level = match["module"], 2
    if match["names"]:
        found, level = {name.strip(): module for name in match["names"].split(",")}, 3
    else:
        found = {name: f"{module}.{home}" for name, home in sorted(homes(module).items())}
    options = f"    options:\n      heading_level: {level}\n      heading: "
    return "\n\n".join(f"::: {definition(home, name)}\n{options}{name}" for name, home in found.items())


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs for every page."""
    return MARKER.sub(listing, markdown)
