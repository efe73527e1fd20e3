import importlib
import inspect
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from pydantic import TypeAdapter

from deployments.provision import WORK_POOLS
from flows import events

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())


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


def test_triggers_expect_events_that_flows_emit(deployment):
    emitted = {events.DROP_SEALED, events.IMAGES_INGESTED, events.SEGMENTS_STORED}
    for trigger in deployment.get("triggers", []):
        assert set(trigger["expect"]) <= emitted


def test_schedules_have_names_so_that_they_can_be_switched_off(deployment):
    assert all(schedule["slug"] for schedule in deployment.get("schedules", []))


def test_every_parameter_of_a_request_is_explained(deployment):
    parameter = inspect.signature(flow_of(deployment).fn).parameters["request"]
    fields = parameter.annotation.model_fields
    assert all(field.description for field in fields.values())
