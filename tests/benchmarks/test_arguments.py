"""What benchmarks say of their arguments."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_usage_is_how_it_is_called_and_every_argument_has_help(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [(node.func.attr, node) for node in calls if isinstance(node.func, ast.Attribute)]
    for name, call in named:
        if name == "ArgumentParser":
            assert ast.unparse(call.args[0]) == f"'python -m benchmarks.{path.stem}'"
        if name == "add_argument":
            assert "help" in [keyword.arg for keyword in call.keywords], ast.unparse(call)
