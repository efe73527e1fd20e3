"""A Prefect server on PostgreSQL: a drop becomes rows by the deployment `nightly`."""

import asyncio
import sys

import asyncpg
import pytest

from examples.comics.drop import write_drop
from storage.lake import Lake
from storage.session import connect
from tests.postgres import postgres
from tests.prefect_server import PREFECT, ROOT, background, prefect_server, run

PAGES = 2


async def flow_runs(url):
    """How many runs of each state the database holds."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return dict(
            await connection.fetch("SELECT state_type::text, count(*) FROM flow_run GROUP BY 1")
        )
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_drop_becomes_rows_where_prefect_is_on_postgresql(tmp_path):
    root, log = tmp_path / "root", tmp_path / "worker.log"
    write_drop(root / "inbox" / "pages", range(910_000_500, 910_000_500 + PAGES))
    with (
        postgres() as url,
        prefect_server(tmp_path, PREFECT_SERVER_DATABASE_CONNECTION_URL=url) as environment,
    ):
        environment |= {"SEGMILL_ROOT": str(root), "PYTHONPATH": str(ROOT)}
        run([sys.executable, "-m", "app.cli", "provision"], environment)
        run([*PREFECT, "--no-prompt", "deploy", "--all"], environment)
        with background([*PREFECT, "worker", "start", "--pool", "cpu"], environment, log):
            command = [*PREFECT, "deployment", "run", "nightly/nightly", "--watch"]
            said = run([*command, "--param", 'request={"dataset": "comics"}'], environment, 600)
            assert "Completed" in said, said + log.read_text()
        assert asyncio.run(flow_runs(url))["COMPLETED"] == 1
    # All that the server keeps is there, and not in a file.
    assert not (tmp_path / "prefect" / "prefect.db").exists()
    with connect(Lake.open(str(root))) as session:
        images, segments = session.execute(
            "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM segments)"
        ).fetchone()
    assert images == PAGES
    assert segments > 0
