import pytest

from tests.prefect_server import prefect_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The environment of what talks to a real Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("server")) as environment:
        yield environment
