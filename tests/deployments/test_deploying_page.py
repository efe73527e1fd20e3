"""What docs/deploying.md names exists."""

import re

from deployments.automations import AUTOMATIONS
from deployments.work_pools import POOL_TYPES
from storage.settings import Settings
from tests.deployments.test_containers import PREFECT_SETTINGS, SERVICES
from tests.prefect_server import ROOT

PAGE = (ROOT / "docs" / "deploying.md").read_text()


def test_settings_exist():
    ours = {name.removeprefix("SEGMILL_").lower() for name in re.findall(r"\bSEGMILL_\w+", PAGE)}
    assert ours <= Settings.model_fields.keys()
    assert set(re.findall(r"\bPREFECT_\w+", PAGE)) <= PREFECT_SETTINGS


def test_automations_policies_pools_and_profiles_are_named():
    assert all(f"`{name}`" in PAGE for name in AUTOMATIONS)
    policies = {path.name for path in (ROOT / "deployments" / "policies").iterdir()}
    assert set(re.findall(r"^\| `(\w+\.json)`", PAGE, re.MULTILINE)) == policies
    assert all(f"--type {name}" in PAGE for name in POOL_TYPES if name != "process")
    profiles = {name for service in SERVICES.values() for name in service.get("profiles", [])}
    assert all(profile in PAGE for profile in profiles)


def test_files_exist():
    for name in re.findall(r"`(deployments/[\w./-]+)`", PAGE):
        if name.isupper() or "TYPE-POOL" in name:
            continue
        assert (ROOT / name).exists(), name


def test_what_was_not_run_is_said():
    assert "were not run" in PAGE
    assert PAGE.count("Not run:") == 2
