"""The house stays small: files ≤ 500 lines, functions ≤ 60, classes ≤ 400; every package opens with its law."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CHECKED = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
FILE, FUNCTION, CLASS, LAW = 500, 60, 400, 12


def oversized(path: Path) -> Iterator[str]:
    text = path.read_text()
    if (lines := text.count("\n")) > FILE:
        yield f"{path.relative_to(ROOT)}: {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            budget = CLASS if isinstance(node, ast.ClassDef) else FUNCTION
            if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > budget:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines"


def test_nothing_outgrows_its_budget():
    assert [line for path in CHECKED for line in oversized(path)] == []


@pytest.mark.parametrize(
    "package", [path for path in SOURCES if path.name == "__init__.py"], ids=lambda path: path.parent.name
)
def test_every_package_opens_with_its_law(package: Path):
    law = ast.get_docstring(ast.parse(package.read_text()))
    assert law is not None, f"{package.relative_to(ROOT)} has no docstring"
    assert len(law.splitlines()) <= LAW


def test_no_module_imports_the_package_root():
    def imports_root(node: ast.AST) -> bool:
        if isinstance(node, ast.Import):
            return any(name.name == "ketch" for name in node.names)
        return isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "ketch"

    guilty = [path for path in SOURCES if any(map(imports_root, ast.walk(ast.parse(path.read_text()))))]
    assert [str(path.relative_to(ROOT)) for path in guilty] == []
