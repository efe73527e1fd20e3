"""Provisioning a real Prefect server, again and again."""

import asyncio
import socket
from datetime import timedelta

import pytest
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.automations import (
    AUTOMATIONS,
    FAILED_NIGHT,
    ZOMBIE_RUNS,
    ensure_automations,
    wanted_automations,
)
from deployments.errors import (
    NotificationBlockError,
    PoolTypeError,
    ServerNotNamedError,
    ServerUnreachableError,
)
from deployments.provision import provision
from deployments.work_pools import POOL_TYPES, WORK_POOLS, job_template
from tests.prefect_server import free_port

pytestmark = [
    pytest.mark.slow,
    # The library behind notifications imports what Python 3.13 drops, and has a substitute.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]


@pytest.fixture
def empty(server):
    """Use the server, without pools or automations."""
    with temporary_settings({PREFECT_API_URL: server["PREFECT_API_URL"]}):
        asyncio.run(clear())
        yield server


async def clear():
    async with get_client() as client:
        for pool in await client.read_work_pools():
            await client.delete_work_pool(pool.name)
        for automation in await client.read_automations():
            await client.delete_automation(automation.id)


async def read_all():
    async with get_client() as client:
        pools = await client.read_work_pools()
        automations = await client.read_automations()
    found = [(pool.name, pool.id, pool.updated) for pool in pools]
    # An automation is replaced by another one, not changed.
    return sorted(found) + sorted((item.name, item.id) for item in automations)


def actions(changes):
    return {change.name: change.action for change in changes}


def again(**options):
    return actions(asyncio.run(provision(**options)))


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_the_second_time_nothing_is_changed(empty, pool_type):
    names = {*WORK_POOLS, ZOMBIE_RUNS}
    assert again(pool_type=pool_type) == dict.fromkeys(names, "created")
    before = asyncio.run(read_all())
    assert again(pool_type=pool_type) == dict.fromkeys(names, "unchanged")
    assert again(pool_type=pool_type, update=True) == dict.fromkeys(names, "unchanged")
    assert asyncio.run(read_all()) == before


def test_a_dry_run_creates_nothing(empty):
    names = {*WORK_POOLS, ZOMBIE_RUNS}
    assert again(dry_run=True, notification_block="") == dict.fromkeys(names, "created")
    assert asyncio.run(read_all()) == []


def test_a_pool_that_somebody_edited_is_left_alone_unless_update_is_asked_for(empty):
    again(pool_type="docker")
    edited = job_template("docker", "gpu")
    edited["variables"]["properties"]["image"]["default"] = "ours:1"
    asyncio.run(edit_pool("gpu", edited))
    assert again(pool_type="docker")["gpu"] == "differs"
    assert asyncio.run(template_of("gpu")) == edited
    assert again(pool_type="docker", update=True, dry_run=True)["gpu"] == "updated"
    assert asyncio.run(template_of("gpu")) == edited
    assert again(pool_type="docker", update=True)["gpu"] == "updated"
    assert asyncio.run(template_of("gpu")) == job_template("docker", "gpu")


async def edit_pool(name, template):
    async with get_client() as client:
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


async def template_of(name):
    async with get_client() as client:
        return (await client.read_work_pool(name)).base_job_template


def test_a_pool_of_another_type_is_replaced_only_with_update(empty):
    again(pool_type="process")
    with pytest.raises(PoolTypeError, match="cpu is of type process, not kubernetes"):
        again(pool_type="kubernetes")
    changes = again(pool_type="kubernetes", update=True)
    assert (changes["cpu"], changes["gpu"]) == ("replaced", "replaced")
    assert asyncio.run(template_of("cpu")) == job_template("kubernetes", "cpu")


@pytest.mark.parametrize(
    "block_type", [SlackWebhook, Webhook], ids=lambda block_type: block_type.__name__
)
def test_a_notification_block_brings_the_other_automations_and_takes_them_away(empty, block_type):
    again()
    block_type(url="https://hooks.example.org/x").save("ops", overwrite=True)
    named = f"{block_type.get_block_type_slug()}/ops"
    changes = again(notification_block=named)
    assert [changes[name] for name in AUTOMATIONS] == ["replaced", "created", "created"]
    assert set(again(notification_block=named).values()) == {"unchanged"}
    told = asyncio.run(automation(FAILED_NIGHT)).model_dump_json()
    assert "hooks.example.org" not in told  # the block's secret stays in the block
    changes = again()
    assert [changes[name] for name in AUTOMATIONS] == ["replaced", "removed", "removed"]


async def automation(name):
    async with get_client() as client:
        (found,) = await client.read_automations_by_name(name)
        return found


def test_blocks_that_cannot_notify_are_refused_before_anything_is_made(empty):
    Secret(value="x").save("ops", overwrite=True)
    with pytest.raises(NotificationBlockError, match="secret/ops: blocks of this type send no"):
        again(notification_block="secret/ops")
    with pytest.raises(NotificationBlockError, match="has no such block"):
        again(notification_block="slack-webhook/nobody")
    assert asyncio.run(read_all()) == []


def test_an_automation_that_somebody_switched_off_stays_off_and_twins_go(empty):
    again()

    async def change():
        async with get_client() as client:
            (found,) = await client.read_automations_by_name(ZOMBIE_RUNS)
            await client.pause_automation(found.id)

    asyncio.run(change())
    assert again()[ZOMBIE_RUNS] == "unchanged"

    async def double():
        async with get_client() as client:
            await client.create_automation(wanted_automations(None)[0])
            wanted = wanted_automations(None, patience=timedelta(seconds=20))
            return await ensure_automations(client, wanted, dry_run=False)

    assert actions(asyncio.run(double())) == {ZOMBIE_RUNS: "replaced"}
    found = asyncio.run(automation(ZOMBIE_RUNS))
    assert found.trigger.within == timedelta(seconds=20)


@pytest.mark.parametrize("old", [False, True], ids=["empty", "of another type"])
def test_several_at_once_make_each_thing_once(empty, old):
    if old:
        again(pool_type="docker")
        asyncio.run(make_old_automation())

    async def several():
        await asyncio.gather(*(provision(update=True) for _ in range(4)))

    asyncio.run(several())
    assert [item[0] for item in asyncio.run(read_all())] == [*sorted(WORK_POOLS), ZOMBIE_RUNS]
    assert set(again().values()) == {"unchanged"}


async def make_old_automation():
    async with get_client() as client:
        wanted = wanted_automations(None, patience=timedelta(seconds=20))
        await ensure_automations(client, wanted, dry_run=False)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("deployments.provision._ANSWER_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        with (
            temporary_settings({PREFECT_API_URL: url}),
            pytest.raises(ServerUnreachableError, match="does not answer"),
        ):
            again()


def test_without_a_server_it_is_said_which_one_was_asked():
    with (
        temporary_settings({PREFECT_API_URL: f"http://user:pw@127.0.0.1:{free_port()}/api"}),
        pytest.raises(ServerUnreachableError, match="does not answer") as failure,
    ):
        again()
    assert "pw" not in str(failure.value)
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(ServerNotNamedError):
        again()
