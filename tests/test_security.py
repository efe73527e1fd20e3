"""What must never be in the code, whoever writes it: docs/security.md lists it."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from examples.comics.drop import write_drop

ROOT = Path(__file__).parents[1]
OURS = ("app", "deployments", "flows", "tasks", "vision", "storage")
SOURCES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))

# Modules whose files run code when they are read, or that make code of text.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
# Their only use is to name errors: of torch's own reader, and of sending images to processes.
MODULES_IN = {"vision/checkpoints.py": {"pickle"}, "vision/finetune/batches.py": {"pickle"}}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "input", "tempfile.mktemp",
    "torch.load", "torch.jit.load", "torch.hub.load", "hydra.utils.instantiate", "instantiate",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "OmegaConf.load",
    "importlib.import_module", "import_module",
    "Secret.load", "Variable.get", "Variable.set", "variables.get",
}  # fmt: skip
CALLS_IN = {
    "vision/checkpoints.py": {"torch.load"},
    # Configurations of models that come with sam2 or this program.
    "vision/finetune/base_model.py": {"OmegaConf.load"},
    # With a loader that is a SafeLoader.
    "vision/strict_yaml.py": {"yaml.load"},
}
ARGUMENTS = {
    "shell": {True},
    "trust_remote_code": {True},
    "weights_only": {False},
    "allow_pickle": {True},
    "verify": {False},
}
# What f-strings may put into SQL: names from lists of this program, and values that are quoted.
IN_SQL = {
    "app/lake_programs.py": set(),
    "tasks/export_crops.py": {"_SEGMENTS"},
    "tasks/exports/selection.py": {
        "_SORT_MEMORY", "min(_MOST_THREADS, os.cpu_count() or 1)", "self._rows",
    },
    "storage/lake.py": {"name"},
    "storage/maintenance.py": {"condition", "order"},
    "storage/retraction.py": {"_CHOSEN[kind]", "_BEGUN[kind]", "table", "condition"},
    "storage/session.py": {
        "quoted(spill)", "most_spilled", "table", "committed_rows(table, superseded)", "source",
        "SUPERSEDED", "decided", "_LAST_VERSION", "view", "named_query(view)",
    },
    "tasks/training_data.py": {
        "_SORT_MEMORY", "threads", "named_query('training_masks')", "order", "rows",
    },
}  # fmt: skip
# The least version without a hole that is known, and what it was.
LEAST = {
    "pillow": ("12.3.0", "several, last of them in PSD and FITS, which are not read here"),
    "torch": ("2.10.0", "CVE-2026-24747, in reading weights only"),
    "prefect": ("3.6.28", "code through git arguments, ways around the password, SSRF"),
    "starlette": ("0.49.1", "CVE-2025-62727"),
    "transformers": ("5.3.0", "CVE-2026-4372"),
    "python-multipart": ("0.0.26", "CVE-2026-40347"),
}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def violations(source: str, name: str = "") -> list[str]:
    """What a source file does that none may do."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            used = {module.split(".")[0] for module in modules} & MODULES
            found += [f"import {module}" for module in used - MODULES_IN.get(name, set())]
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CALLS - CALLS_IN.get(name, set()):
                found.append(called)
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if value in ARGUMENTS.get(keyword.arg or "", set()):
                    found.append(f"{keyword.arg}={value}")
            if called.endswith((".execute", ".sql")) and node.args:
                found += sql_pieces(node.args[0], IN_SQL.get(name, set()))
    return found


def sql_pieces(argument: ast.expr, allowed: set[str]) -> list[str]:
    if isinstance(argument, ast.BinOp) and not isinstance(argument.op, ast.Add):
        return [f"SQL: {ast.unparse(argument)}"]
    return [
        f"SQL: {ast.unparse(part.value)}"
        for joined in ast.walk(argument)
        if isinstance(joined, ast.JoinedStr)
        for part in joined.values
        if isinstance(part, ast.FormattedValue) and ast.unparse(part.value) not in allowed
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_runs_from_data(path):
    assert violations(path.read_text(), str(path.relative_to(ROOT))) == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "import pickle"),
        ("from joblib import load", "import joblib"),
        ("torch.load(path)", "torch.load"),
        ("torch.load(path, weights_only=False)", "weights_only=False"),
        ("np.load(path, allow_pickle=True)", "allow_pickle=True"),
        ("yaml.load(text)", "yaml.load"),
        ("hydra.utils.instantiate(config)", "hydra.utils.instantiate"),
        ("eval(text)", "eval"),
        ("subprocess.run(text, shell=True)", "shell=True"),
        ("AutoModel.from_pretrained(name, trust_remote_code=True)", "trust_remote_code=True"),
        ("httpx.get(url, verify=False)", "verify=False"),
        ("session.execute(f'SELECT * FROM {label}')", "SQL: label"),
        ("session.sql('SELECT ' + f'{label}')", "SQL: label"),
        ("session.execute('SELECT %s' % label)", "SQL: 'SELECT %s' % label"),
        ("Secret.load('aws')", "Secret.load"),
    ],
)
def test_the_search_finds_what_it_is_for(source, what):
    assert what in violations(source)


def test_the_exceptions_are_still_needed():
    for name, allowed in IN_SQL.items():
        source = (ROOT / name).read_text()
        assert all(piece in source for piece in allowed), name
    assert violations((ROOT / "vision/checkpoints.py").read_text()) == [
        "import pickle", "torch.load",
    ]  # fmt: skip


def pins() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        requirement = Requirement(line)
        found.setdefault(requirement.name.lower(), []).append(requirement)
    return found


def test_every_package_is_pinned_to_one_version():
    for name, requirements in pins().items():
        for requirement in requirements:
            operators = {item.operator for item in requirement.specifier}
            assert operators == {"=="}, name
            assert requirement.url is None, name


def test_no_pin_has_a_hole_that_is_known():
    pinned = pins()
    for name, (least, hole) in LEAST.items():
        for requirement in pinned.get(name, []):
            (version,) = (item.version for item in requirement.specifier)
            assert Version(version) >= Version(least), f"{name} {version}: {hole}"
    # Not installed by default, so not pinned: its least version is asked for.
    extras = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'"transformers>=5\.3"', extras)


def test_servers_listen_on_this_machine_only():
    """Containers are others' machines: what they open is in compose.yaml, and tested there."""
    for path in SOURCES:
        assert "0.0.0.0" not in path.read_text(), path
    compose = yaml.safe_load((ROOT / "deployments/compose.yaml").read_text())
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_page_about_security_names_tests_that_are_there():
    text = (ROOT / "docs/security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "tests/" in line]
    assert len(rows) > 15
    for name in re.findall(r"`(tests/[^`]+)`", text):
        assert (ROOT / name).is_file(), name


def test_deployments_hold_no_secret():
    text = (ROOT / "prefect.yaml").read_text()
    assert not re.search(r"(?i)password|secret|token|access_key|auth", text)


@pytest.mark.slow
def test_a_night_needs_no_network(tmp_path):
    """In a network of its own, without any way out: nothing is fetched when it runs."""
    alone = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("no right to make a network namespace")
    write_drop(tmp_path / "root/inbox/pages", [910_000_400], size_px=256)
    environment = os.environ | {
        "SEGMILL_ROOT": str(tmp_path / "root"),
        "HOME": str(tmp_path / "home"),  # nothing that was fetched before is there
        "XDG_CACHE_HOME": str(tmp_path / "home/cache"),
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(tmp_path / "numba")),
        "OMP_NUM_THREADS": "1",
    }
    for arguments in (["nightly"], ["export", "coco", "--output", "out"], ["sql", "FROM segments"]):
        done = subprocess.run(
            [*alone, sys.executable, "-m", "app.cli", *arguments],
            cwd=ROOT if arguments[0] != "export" else tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/annotations.json").is_file()
