"""Checks names and imports of the installed package, without TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [p for p in sorted((ROOT / "tfrec").rglob("*.py"))]
COMMANDS = ("simulate", "prepare", "train", "tune", "evaluate", "report")


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def public_names(tree: ast.Module) -> list[str] | None:
    """Returns `__all__`, None if the module has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def defined_names(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {(alias.asname or alias.name) for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_names_are_sorted_and_exist(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = public_names(tree)
    if names is None:
        # A package that re-exports must say which names are public.
        if path.name == "__init__.py" and path.parent.name != "tfrec":
            imported = [n for n in tree.body if isinstance(n, ast.ImportFrom)]
            assert not imported, "re-exports need `__all__`"
        return
    # Plain order, or that of ruff: constants, classes, functions.
    ruff_order = sorted(names, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert names in (sorted(names), ruff_order)
    assert set(names) <= defined_names(tree)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_says_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, "a module starts with a docstring"
    assert len(text.splitlines()[0]) <= 88


def test_import_is_quick_and_leaves_tensorflow_alone() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import tfrec; "
        "print(time.perf_counter() - start, 'tensorflow' in sys.modules)"
    )
    runs = [run_python(code).split() for _ in range(3)]
    assert min(float(seconds) for seconds, _ in runs) < 0.3
    assert [tensorflow for _, tensorflow in runs] == ["False"] * 3


def test_import_changes_one_environment_variable() -> None:
    code = (
        "import os; before = dict(os.environ); import tfrec; "
        "print(sorted(set(os.environ.items()) ^ set(before.items())))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.stdout.strip() == "[('TF_USE_LEGACY_KERAS', '1')]", result.stderr


def test_help_of_every_command_works_without_tensorflow() -> None:
    code = f"""
import contextlib, io, sys
from tfrec.__main__ import main
for command in {COMMANDS}:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            main([command, "--help"])
        except SystemExit as stop:
            assert not stop.code, (command, stop.code)
    assert "usage: tfrec " + command in text.getvalue(), text.getvalue()[:300]
    assert "tensorflow" not in sys.modules, command
"""
    run_python(code)
