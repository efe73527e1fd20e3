"""What can be checked of the containers without an engine: they are not built or run here."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import PurePosixPath

import pytest
import yaml
from prefect.settings import Settings as PrefectSettings

from app.stack.local import SERVER_SETTINGS, WORKER_SETTINGS
from deployments.work_pools import WORK_POOLS
from storage.settings import Settings
from tests.prefect_server import ROOT

FOLDER = ROOT / "deployments"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
EXAMPLE = (FOLDER / ".env.example").read_text()
DOCKERFILES = sorted((FOLDER / "containers").glob("*.Dockerfile"))
# https://github.com/compose-spec/compose-spec/blob/main/spec.md
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "image",
    "init", "networks", "ports", "profiles", "restart", "security_opt", "stop_grace_period",
    "volumes",
}  # fmt: skip
INTERPOLATED = re.compile(r"\$\{(\w+)(:[?-][^}]*)?\}")
PINNED = re.compile(r"[\w./-]+:\d+\.\d+[\w.-]*")


@pytest.fixture(params=SERVICES)
def service(request):
    return SERVICES[request.param]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.stem)
def dockerfile(request):
    """The instructions of a Dockerfile, with their arguments, lines joined."""
    text = re.sub(r"^#.*\n", "", request.param.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def test_services_have_only_fields_of_the_compose_specification(service):
    assert service.keys() <= SERVICE_KEYS
    assert COMPOSE.keys() - {key for key in COMPOSE if key.startswith("x-")} == {
        "name", "services", "networks", "volumes",
    }  # fmt: skip


def test_networks_and_volumes_that_services_use_are_declared(service):
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    volumes = {volume.split(":")[0] for volume in service.get("volumes", [])}
    assert volumes <= COMPOSE["volumes"].keys()


def test_services_wait_for_what_they_need_in_a_way_that_it_can_say(service):
    for name, needed in service.get("depends_on", {}).items():
        condition = needed["condition"]
        if condition == "service_healthy":
            assert "healthcheck" in SERVICES[name]
        else:
            # One that is always started again never completes.
            assert condition == "service_completed_successfully"
            assert SERVICES[name]["restart"].startswith("on-failure")


def test_all_that_keeps_running_has_a_health_check(service):
    if service["restart"] == "unless-stopped":
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_images_are_pinned_and_ours_are_built_from_what_is_there(service):
    assert PINNED.fullmatch(service["image"])
    if "build" in service:
        context = (FOLDER / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]) in DOCKERFILES


def test_ports_are_open_to_this_machine_only(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_secrets_come_from_the_environment(service):
    for name, value in service.get("environment", {}).items():
        if re.search("PASSWORD|SECRET|ACCESS_KEY|AUTH_STRING", name):
            variables = INTERPOLATED.findall(value)
            # Left out, it must be an error, not an empty password.
            assert variables and all(otherwise.startswith(":?") for _, otherwise in variables)
            assert INTERPOLATED.sub("", value) in ("", "segmill:")


def test_the_example_names_each_variable_and_holds_no_value():
    text = (FOLDER / "compose.yaml").read_text()
    wanted = {name for name, _ in INTERPOLATED.findall(text)}
    lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")]
    assert {line.removesuffix("=") for line in lines} == wanted


def test_the_file_with_the_secrets_is_never_committed_nor_sent_to_the_builder():
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "deployments/.env"], cwd=ROOT)
    assert ignored.returncode == 0
    assert "**/.env*" in (ROOT / ".dockerignore").read_text().splitlines()


def test_settings_in_the_environment_exist(service):
    for name in service.get("environment", {}):
        if name.startswith("SEGMILL_"):
            assert name.removeprefix("SEGMILL_").lower() in Settings.model_fields
        if name.startswith("PREFECT_"):
            assert name in PREFECT_SETTINGS


def names_of(model):
    """The variables of Prefect's settings, with their older names."""
    for field in model.model_fields.values():
        aliases = getattr(field.validation_alias, "choices", [field.validation_alias])
        yield from (alias.upper() for alias in aliases if isinstance(alias, str))
        if hasattr(field.annotation, "model_fields"):
            yield from names_of(field.annotation)
            prefix = field.annotation.model_config.get("env_prefix", "")
            yield from (f"{prefix}{name}".upper() for name in field.annotation.model_fields)


PREFECT_SETTINGS = {"PREFECT_HOME", *names_of(PrefectSettings)}


def test_the_server_asks_who_is_there():
    environment = SERVICES["server"]["environment"]
    assert environment["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"
    for worker in ("provision", "worker-cpu", "worker-gpu", "worker-gpu-on-cpu"):
        asked = SERVICES[worker]["environment"]["PREFECT_API_AUTH_STRING"]
        assert asked == environment["PREFECT_SERVER_API_AUTH_STRING"]


def test_server_and_workers_are_set_as_those_of_segmill_up_and_leases_are_kept():
    server, image = SERVICES["server"], (FOLDER / "containers/cpu.Dockerfile").read_text()
    for worker in ("worker-cpu", "worker-gpu", "worker-gpu-on-cpu"):
        assert WORKER_SETTINGS.items() <= SERVICES[worker]["environment"].items()
    for name, value in SERVER_SETTINGS.items():
        assert server["environment"].get(name) == value or f"{name}={value}" in image
    (volume,) = server["volumes"]
    assert server["environment"]["PREFECT_HOME"].startswith(volume.split(":")[1] + "/")


def test_each_pool_has_a_worker_and_only_the_gpu_image_asks_for_a_gpu():
    assert SERVICES["worker-gpu"]["image"].startswith("segmill-gpu:")
    devices = {name for name, service in SERVICES.items() if "deploy" in service}
    assert devices == {"worker-gpu"}
    assert {path.stem for path in DOCKERFILES} == set(WORK_POOLS)


def test_base_images_are_pinned_and_not_latest(dockerfile):
    stages = set()
    for _, argument in (line for line in dockerfile if line[0] == "FROM"):
        image, *name = argument.split(" AS ")
        assert image in stages or PINNED.fullmatch(image)
        stages |= set(name)


def test_the_code_runs_as_nobody_in_particular_and_cannot_change_itself(dockerfile):
    last = max(place for place, (word, _) in enumerate(dockerfile) if word == "FROM")
    final = dockerfile[last:]
    users = [argument for word, argument in final if word == "USER"]
    assert users == ["10001"]
    assert final.index(("USER", "10001")) > max(
        place for place, (word, _) in enumerate(final) if word in ("COPY", "RUN")
    )
    assert not any("--chown" in argument for word, argument in final if word == "COPY")


def test_what_is_copied_exists_and_is_sent_to_the_builder(dockerfile):
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    for word, argument in dockerfile:
        if word == "COPY" and not argument.startswith("--from="):
            for source in argument.split()[:-1]:
                assert (ROOT / source).exists()
                assert any(fnmatch(PurePosixPath(source).parts[0], name) for name in allowed)


def test_packages_are_those_that_are_pinned(dockerfile):
    installs = [line[1] for line in dockerfile if "uv pip install" in line[1]]
    assert "--constraint requirements.txt --requirement pyproject.toml" in installs[0]
    assert all("--no-deps" in other for other in installs[1:])


def test_no_secret_is_built_in(dockerfile):
    for word, argument in dockerfile:
        assert word not in ("ARG", "ADD")
        if word == "ENV":
            assert not re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|AUTH", argument)


def test_the_worker_serves_the_pool_of_its_image():
    for path in DOCKERFILES:
        command = path.read_text().splitlines()[-1]
        assert f'"--pool", "{path.stem}"' in command
        assert "--with-healthcheck" in command  # which compose.yaml asks
