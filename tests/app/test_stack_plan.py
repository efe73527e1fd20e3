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
