"""A schedule that is wrong is told when it is deployed, not at the hour when nothing runs."""

import subprocess
import sys

import pytest
import yaml

from tests.prefect_server import PREFECT, ROOT, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("schedule", "word"),
    [
        ({"cron": "0 25 * * *"}, "0 25 * * *"),
        ({"cron": "every night"}, "every night"),
        ({"cron": "0 2 * * *", "timezone": "Europe/Atlantis"}, "Europe/Atlantis"),
    ],
)
def test_a_bad_schedule_is_refused_when_it_is_deployed(server, tmp_path, schedule, word):
    run([sys.executable, "-m", "app.cli", "provision"], server)
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for deployment in deployments["deployments"]:
        if deployment["name"] == "nightly":
            deployment["schedules"] = [{"slug": "nightly"} | schedule]
    edited = tmp_path / "prefect.yaml"
    edited.write_text(yaml.safe_dump(deployments))
    deploy = [*PREFECT, "--no-prompt", "deploy", "--prefect-file", str(edited)]
    done = subprocess.run(
        [*deploy, "--name", "nightly"], cwd=ROOT, env=server, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert word in done.stdout + done.stderr
