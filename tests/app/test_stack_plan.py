from dataclasses import replace

import pytest

from app.stack.local import SERVER_SETTINGS, WORKER_SETTINGS, StackPlan


@pytest.fixture
def plan():
    return StackPlan("/data", "comics", 4200, ("cpu",), None, 5.0)


def test_defaults_give_way_to_the_environment(plan, monkeypatch):
    for name, value in (SERVER_SETTINGS | WORKER_SETTINGS).items():
        monkeypatch.delenv(name, raising=False)
        assert plan.environment()[name] == value
        monkeypatch.setenv(name, "something else")
        assert plan.environment()[name] == "something else"


def test_the_plan_itself_does_not(plan, monkeypatch):
    monkeypatch.setenv("SEGMILL_ROOT", "/elsewhere")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere")
    environment = plan.environment()
    assert environment["SEGMILL_ROOT"] == "/data"
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"


@pytest.mark.parametrize("given", ["option", "variable"])
def test_only_the_server_is_told_of_its_database(plan, monkeypatch, given):
    name, address = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://u:secret@db/p"
    if given == "option":
        plan = replace(plan, database=address)
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, address)
    password, older = "PREFECT_SERVER_DATABASE_PASSWORD", "PREFECT_API_DATABASE_CONNECTION_URL"
    for variable in (password, older):
        monkeypatch.setenv(variable, "secret")
    assert plan.server_environment()[name] == address
    assert plan.server_environment()[password] == "secret"
    assert not {name, password, older} & plan.environment().keys()
