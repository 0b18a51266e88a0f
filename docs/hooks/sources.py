"""Where the hooks read: the syntax trees of installed modules. Nothing is imported."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def module_file(module: str) -> Path:
    """Return a module's file; LookupError where there is none."""
    package, *inner = module.split(".")
    spec = find_spec(package)  # of the package alone: that imports nothing
    if spec is None or spec.origin is None:
        raise LookupError(f"no package {package}")
    path = Path(spec.origin).parent.joinpath(*inner)
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    raise LookupError(f"no module {module}")


@cache
def module_tree(module: str) -> ast.Module:
    """Return a module's syntax tree."""
    return ast.parse(module_file(module).read_text(encoding="utf-8"))


def find_class(module: str, name: str) -> tuple[str, ast.ClassDef]:
    """Return a class and the module that defines it, which may be another that `module` imports it from."""
    for node in module_tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find_class(node.module, alias.name)
    raise LookupError(f"no class {name} in {module}")
