import importlib
import inspect
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import PrefectYamlModel
from pydantic import TypeAdapter

from deployments.work_pools import WORK_POOLS
from flows import events

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def flow_of(deployment) -> Flow:
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.fixture(params=DEPLOYMENTS["deployments"], ids=lambda item: item["entrypoint"])
def deployment(request):
    return request.param


def test_workers_run_the_installed_code():
    assert DEPLOYMENTS["pull"] == []


def test_entrypoints_are_flows_named_like_their_module(deployment):
    flow = flow_of(deployment)
    assert isinstance(flow, Flow)
    assert deployment["entrypoint"] == f"flows.{flow.name}.{flow.name}"


def test_default_parameters_are_valid_requests(deployment):
    parameter = inspect.signature(flow_of(deployment).fn).parameters["request"]
    TypeAdapter(parameter.annotation).validate_python(deployment["parameters"]["request"])


def test_pools_are_those_that_are_provisioned(deployment):
    assert deployment["work_pool"]["name"] in WORK_POOLS


def test_prefect_understands_every_field():
    model = PrefectYamlModel.model_validate(DEPLOYMENTS)
    for deployment, given in zip(model.deployments, DEPLOYMENTS["deployments"], strict=True):
        assert given.keys() <= deployment.model_fields_set


def test_what_a_deployment_is_for_is_said_in_the_file(deployment):
    assert deployment["description"].endswith(".")


def test_runs_carry_the_tag_by_which_zombies_and_old_runs_are_found(deployment):
    assert events.RUN_TAG in deployment["tags"]


def test_runs_of_a_deployment_wait_for_each_other_or_are_cancelled(deployment):
    limit = deployment["concurrency_limit"]
    assert limit["limit"] == 1
    assert limit["collision_strategy"] in ("ENQUEUE", "CANCEL_NEW")


def test_there_is_a_deployment_of_every_flow():
    modules = (path.stem for path in (ROOT / "flows").glob("*.py"))
    flows = {
        name
        for name in modules
        if isinstance(getattr(importlib.import_module(f"flows.{name}"), name, None), Flow)
    }
    assert {flow_of(deployment).name for deployment in DEPLOYMENTS["deployments"]} == flows


def test_triggers_expect_events_that_flows_emit(deployment):
    emitted = {events.DROP_SEALED, events.IMAGES_INGESTED, events.SEGMENTS_STORED,
               events.CURATION_READY}  # fmt: skip
    for trigger in deployment.get("triggers", []):
        assert set(trigger["expect"]) <= emitted


def test_schedules_have_names_so_that_they_can_be_switched_off(deployment):
    assert all(schedule["slug"] for schedule in deployment.get("schedules", []))


def test_every_parameter_of_a_request_is_explained(deployment):
    parameter = inspect.signature(flow_of(deployment).fn).parameters["request"]
    fields = parameter.annotation.model_fields
    assert all(field.description for field in fields.values())
