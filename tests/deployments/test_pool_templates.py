"""The job templates of the work pools, filled in as a worker does. No engine runs them here."""

import json
import re

import jsonschema
import pytest
from docker.types import HostConfig
from prefect.utilities.templating import apply_values

from deployments.work_pools import POOL_TYPES, WORK_POOLS, job_template
from storage.settings import Settings
from tests.prefect_server import ROOT

TEMPLATES = [(pool_type, name) for pool_type in POOL_TYPES for name in WORK_POOLS]
PLACEHOLDER = re.compile(r"{{ *([\w.]+) *}}")
RUN_AS = 10001


@pytest.fixture(params=TEMPLATES, ids="-".join)
def template(request):
    return job_template(*request.param)


def job(pool_type, pool, /, **values):
    """A template filled in as a worker does, with its defaults and what a deployment sets."""
    template = job_template(pool_type, pool)
    fields = template["variables"]["properties"]
    defaults = {key: field["default"] for key, field in fields.items() if "default" in field}
    return apply_values(template["job_configuration"], defaults | values)


def test_there_is_a_template_for_each_type_and_pool_and_no_other():
    found = {path.stem for path in (ROOT / "deployments" / "pools").glob("*")}
    assert found == {"-".join(names) for names in TEMPLATES}


def test_each_placeholder_is_a_variable_and_each_variable_is_used(template):
    placeholders = set(PLACEHOLDER.findall(json.dumps(template["job_configuration"])))
    assert placeholders == template["variables"]["properties"].keys()


def test_the_variables_are_a_schema_that_their_defaults_fit(template):
    schema = template["variables"]
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults = {
        name: field["default"] for name, field in schema["properties"].items() if "default" in field
    }
    jsonschema.validate(defaults, schema)
    assert all(field.get("description") for field in schema["properties"].values())


def test_the_settings_in_a_template_exist_and_no_secret_is_among_them(template):
    environment = template["variables"]["properties"]["env"].get("default", {})
    settings = {name for name in environment if name.startswith("SEGMILL_")}
    known = {f"SEGMILL_{name}".upper() for name in Settings.model_fields}
    assert settings <= known
    assert not re.search(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY|AUTH", " ".join(environment))


def test_images_are_pinned_and_those_that_are_built():
    for pool_type in ("docker", "kubernetes"):
        for name in WORK_POOLS:
            image = job_template(pool_type, name)["variables"]["properties"]["image"]["default"]
            assert re.fullmatch(rf"segmill-{name}:\d+\.\d+\.\d+", image)
            assert (ROOT / "deployments" / "containers" / f"{name}.Dockerfile").exists()


def test_docker_takes_the_options_and_only_gpu_containers_get_a_gpu():
    options = {name: job("docker", name)["container_create_kwargs"] for name in WORK_POOLS}
    made = {name: HostConfig(version="1.43", **found) for name, found in options.items()}
    assert made["gpu"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert "DeviceRequests" not in made["cpu"]
    assert all(found["SecurityOpt"] == ["no-new-privileges"] for found in made.values())


def test_only_gpu_jobs_ask_the_cluster_for_gpus():
    pods = {
        name: job("kubernetes", name)["job_manifest"]["spec"]["template"]["spec"]
        for name in WORK_POOLS
    }
    limits = {name: pod["containers"][0]["resources"]["limits"] for name, pod in pods.items()}
    assert limits["gpu"]["nvidia.com/gpu"] == 1
    assert pods["gpu"]["nodeSelector"] and pods["gpu"]["tolerations"]
    assert "nvidia.com/gpu" not in limits["cpu"]
    assert not pods["cpu"].keys() & {"nodeSelector", "tolerations"}


@pytest.mark.parametrize("name", WORK_POOLS)
def test_a_kubernetes_job_has_the_fields_that_kubernetes_knows(name):
    values = {"name": "nightly", "command": "prefect flow-run execute", "cpu_limit": "4"}
    manifest = job("kubernetes", name, **values)["job_manifest"]
    jsonschema.validate(manifest, JOB)
    assert not PLACEHOLDER.search(json.dumps(manifest))


def test_the_check_of_jobs_finds_fields_in_the_wrong_place():
    manifest = job("kubernetes", "cpu", name="x", command="y")["job_manifest"]
    manifest["spec"]["template"]["spec"]["parallelism"] = 1
    with pytest.raises(jsonschema.ValidationError, match="parallelism"):
        jsonschema.validate(manifest, JOB)


def closed(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, NUMBER, YES = (
    {"type": "string", "minLength": 1},
    {"type": "integer", "minimum": 0},
    {"const": True},
)
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
ENV_FROM = closed(
    configMapRef=closed(["name"], name=TEXT, optional={"type": "boolean"}),
    secretRef=closed(["name"], name=TEXT, optional={"type": "boolean"}),
)
CONTAINER = closed(
    ["name", "image"],
    name=TEXT,
    image=TEXT,
    imagePullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
    args={},  # the worker makes a list of it
    env={},
    envFrom={"type": "array", "items": ENV_FROM},
    resources=closed(limits=QUANTITIES, requests=QUANTITIES),
    securityContext=closed(
        ["allowPrivilegeEscalation", "capabilities"],
        allowPrivilegeEscalation={"const": False},
        capabilities=closed(drop={"const": ["ALL"]}),
    ),
)
POD = closed(
    ["restartPolicy", "containers", "securityContext"],
    restartPolicy={"enum": ["Never", "OnFailure"]},
    serviceAccountName=TEXT,
    automountServiceAccountToken={"type": "boolean"},
    nodeSelector=TEXTS,
    tolerations={
        "type": "array",
        "items": closed(
            key=TEXT,
            operator={"enum": ["Exists", "Equal"]},
            value=TEXT,
            effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        ),
    },
    securityContext=closed(
        ["runAsNonRoot", "runAsUser"],
        runAsNonRoot=YES,
        runAsUser={"const": RUN_AS},
        runAsGroup={"const": RUN_AS},
        fsGroup={"const": RUN_AS},
        seccompProfile=closed(type={"const": "RuntimeDefault"}),
    ),
    containers={"type": "array", "items": CONTAINER, "minItems": 1},
)
JOB = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "batch/v1"},
    kind={"const": "Job"},
    metadata=closed(labels=TEXTS, namespace=TEXT, generateName=TEXT),
    spec=closed(
        ["template"],
        backoffLimit=NUMBER,
        ttlSecondsAfterFinished=NUMBER,
        parallelism=NUMBER,
        completions=NUMBER,
        template=closed(["spec"], spec=POD),
    ),
)
"""The fields of a batch/v1 Job that the templates use, where Kubernetes' reference puts them."""
