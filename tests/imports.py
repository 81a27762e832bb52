"""Which project files a project file imports, read and not run: inside functions and for types as well."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def imported(path: str) -> frozenset[str]:
    """Files of the project, from its root, that the file `path` names in its imports; packages as their __init__.py."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}:{node.lineno}: expected a full name, got a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            base = name.replace(".", "/")
            found |= {f for f in (f"{base}.py", f"{base}/__init__.py") if (ROOT / f).is_file()}
    return frozenset(found)
