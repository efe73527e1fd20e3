"""What `segmill up` starts, and what a server must not forget."""

import asyncio
import sys
import time

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from app.stack import local
from app.stack.children import ChildDiedError, Children
from app.stack.local import PROJECT, StackPlan, deployments_of
from tests.prefect_server import prefect_server


def test_all_deployments_work_on_the_dataset_that_drops_belong_to():
    original = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    changed = yaml.safe_load(deployments_of("street"))["deployments"]
    for item in changed:
        command = item["work_pool"]["job_variables"]["command"]
        assert command == f"{sys.executable} -m prefect.engine"
    asked = [item["parameters"]["request"].get("dataset", "none") for item in changed]
    assert sorted(asked) == ["none", *["street"] * (len(original) - 1)]  # maintain is of a root
    for item in (*original, *changed):
        item["parameters"]["request"].pop("dataset", None)
    for item in (*changed, *original):
        item["work_pool"] = dict(item["work_pool"], job_variables=None)
    assert changed == original


def test_a_server_that_died_is_told_though_another_one_answers(tmp_path):
    children = Children(lambda name, line: None)
    quick = children.start("server", [sys.executable, "-c", "pass"], {}, tmp_path)
    quick.process.wait()
    try:
        with pytest.raises(ChildDiedError, match="server ended"):
            local._wait_for(lambda: True, children, 5, "the server")
    finally:
        children.stop(1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_died_with_its_server_keeps_no_other_from_running(tmp_path):
    """The only place of a deployment is free again a while after the server is back."""
    plan = StackPlan(str(tmp_path), "default", 4200, ("cpu",), None, 5)
    settings = {
        name: value
        for name, value in plan.environment().items()
        if name.startswith("PREFECT_SERVER_CONCURRENCY")
    } | {"PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "30"}
    with prefect_server(tmp_path, **settings) as environment:
        deployment = asked(environment, deployed())
        assert asked(environment, begun(deployment)) == "Pending"
        assert asked(environment, begun(deployment)) == "AwaitingConcurrencySlot"
    with prefect_server(tmp_path, **settings) as environment:
        deadline = time.monotonic() + 200
        while asked(environment, begun(deployment)) != "Pending":
            assert time.monotonic() < deadline
            time.sleep(5)


def asked(environment, question):
    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        return asyncio.run(question)


async def deployed():
    async with get_client() as client:
        return await client.create_deployment(
            await client.create_flow_from_name("night"),
            "nightly",
            concurrency_limit=1,
            concurrency_options={"collision_strategy": "ENQUEUE"},
        )


async def begun(deployment):
    """The state of a new run when a worker wants to begin it."""
    async with get_client() as client:
        run = await client.create_flow_run_from_deployment(deployment)
        return (await client.set_flow_run_state(run.id, Pending())).state.name
