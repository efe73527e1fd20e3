"""The house rules that code review would otherwise have to remember."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "app": {"deployments", "flows", "tasks", "vision", "storage", "examples", "app"},
    "deployments": {"flows", "storage", "deployments"},
    "flows": {"tasks", "storage", "flows"},
    "tasks": {"vision", "storage", "tasks"},
    "vision": {"vision"},
    "storage": {"storage"},
    "examples": {"vision", "examples"},
}
FOREIGN = {"vision": {"prefect"}, "storage": {"prefect", "torch"}}


def imported_packages(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_go_one_way_only(folder):
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        names = imported_packages(path)
        ours = names & (ALLOWED.keys() - ALLOWED[folder])
        foreign = names & FOREIGN.get(folder, set())
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(ours | foreign)]
    assert not wrong


def test_every_folder_has_python_files_to_check():
    for folder in ALLOWED:
        assert list((ROOT / folder).rglob("*.py")), folder


def test_vague_module_names_are_not_used():
    vague = {"utils", "helpers", "common", "misc", "manager"}
    found = [
        path
        for folder in ALLOWED
        for path in (ROOT / folder).rglob("*.py")
        if path.stem in vague or path.parent.name in vague
    ]
    assert not found


FLOWS = (
    "ingest", "segment", "stats", "curate", "evaluate", "finetune", "nightly", "maintain", "watch",
)  # fmt: skip


@pytest.mark.parametrize("module", ["app.cli", *[f"flows.{name}" for name in FLOWS]])
def test_importing_a_flow_or_the_command_does_not_import_torch(module):
    code = (
        f"import sys, {module}; "
        "heavy = [m for m in ('torch', 'sam2', 'open_clip') if m in sys.modules]; "
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
