"""The Prefect server: does it answer, and are pools, workers, deployments and schedules there?"""

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import yaml

from app.health.findings import Finding, ok, problem, warning
from app.prefect_side import ServerError, ServerState, read_server, server_url
from storage.addresses import without_secrets

_PREFECT_YAML = Path(__file__).parents[2] / "prefect.yaml"
_DEPLOY = "segmill up does it on one machine; elsewhere: prefect --no-prompt deploy --all"


def check_server() -> tuple[list[Finding], ServerState | None]:
    """Look at the server of the present Prefect profile.

    Returns:
        What was found, and the server's state if it answered.
    """
    url = server_url()
    if url is None:
        return [
            warning(
                "server",
                "none is known (PREFECT_API_URL), so nothing runs by itself",
                "segmill up starts one; or set PREFECT_API_URL to http://HOST:4200/api",
            )
        ], None
    in_address = []
    if without_secrets(url) != url:
        do = "take them out; a password belongs in PREFECT_API_AUTH_STRING"
        told = "PREFECT_API_URL has a user or a password in it, which Prefect shows in its logs"
        in_address = [problem("server", told, do)]
    try:
        state = read_server()
    except ServerError as error:
        do = {
            "address": "start it (segmill up, or prefect server start), or correct PREFECT_API_URL",
            "auth": "see the server's settings",
            "answer": "PREFECT_API_URL should end in /api and lead to Prefect 3",
        }[error.kind]
        return [*in_address, problem("server", str(error), do)], None
    wanted = yaml.safe_load(_PREFECT_YAML.read_text()) if _PREFECT_YAML.is_file() else {}
    return [
        *in_address,
        _version(state),
        *_pools(state, wanted.get("deployments", [])),
        *_deployments(state, wanted.get("deployments", [])),
        *_automations(state, wanted.get("deployments", [])),
    ], state


def _version(state: ServerState) -> Finding:
    here = version_of("prefect")
    if state.version.split(".")[:2] != here.split(".")[:2]:
        return warning(
            "server",
            f"{state.url} runs Prefect {state.version}, this machine {here}",
            "use one version on all machines",
        )
    return ok("server", f"{state.url}, Prefect {state.version}")


def _pools(state: ServerState, wanted: list[dict[str, Any]]) -> list[Finding]:
    there = {pool.name: pool for pool in state.pools}
    queues: dict[str, set[str]] = {}
    for item in wanted:
        of = item["work_pool"]
        queues.setdefault(of["name"], set()).add(of.get("work_queue_name", "default"))
    found = []
    for name in queues:
        pool = there.get(name)
        if pool is None:
            found.append(problem(f"pool {name}", "it does not exist", "segmill provision"))
        elif pool.paused:
            do = f"prefect work-pool resume {name}"
            found.append(problem(f"pool {name}", "it is paused, so nothing in it starts", do))
        elif not pool.online:
            do = f"prefect worker start --pool {name}, where its work should be done"
            found.append(problem(f"pool {name}", "no worker is online, so runs become late", do))
        elif missing := sorted(queues[name] & set(pool.unserved)):
            told = f"no worker takes runs of its queue {', '.join(missing)}, so they become late"
            do = f"prefect worker start --pool {name} --work-queue {' --work-queue '.join(missing)}"
            found.append(problem(f"pool {name}", told, do))
        else:
            workers = "1 worker" if pool.online == 1 else f"{pool.online} workers"
            found.append(ok(f"pool {name}", f"{workers} online"))
    return found


def _automations(state: ServerState, wanted: list[dict[str, Any]]) -> list[Finding]:
    """What starts deployments by events, and what ends runs whose machine died."""
    # It imports much of Prefect.
    from deployments.automations import ZOMBIE_RUNS

    found = []
    there = {item.name: item for item in state.deployments}
    for item in wanted:
        name = _name_of(item)
        should = sum(trigger.get("enabled", True) for trigger in item.get("triggers", []))
        if name in there and there[name].triggers < should:
            told = f"no event starts {name}: its trigger is missing or off"
            found.append(problem("triggers", told, _DEPLOY))
    if ZOMBIE_RUNS not in state.automations:
        told = f"{ZOMBIE_RUNS!r} is missing or off: a run whose machine died stays Running"
        found.append(problem("automations", told, "segmill provision"))
    return found or [ok("automations", f"{len(state.automations)} on")]


def _name_of(wanted: dict[str, Any]) -> str:
    return f"{wanted['entrypoint'].rpartition('.')[2]}/{wanted['name']}"


def _deployments(state: ServerState, wanted: list[dict[str, Any]]) -> list[Finding]:
    there = {item.name: item for item in state.deployments}
    names = [_name_of(item) for item in wanted]
    found = []
    if missing := [name for name in names if name not in there]:
        found.append(problem("deployments", f"missing: {', '.join(missing)}", _DEPLOY))
    if paused := [name for name in names if name in there and there[name].paused]:
        do = "prefect deployment schedule resume, or the switch on its page"
        found.append(warning("deployments", f"paused: {', '.join(paused)}", do))
    for name, item in zip(names, wanted, strict=True):
        if name not in there:
            continue
        crons = [entry for entry in item.get("schedules", []) if "cron" in entry]
        should = {entry["cron"]: entry.get("active", True) for entry in crons}
        off = [cron for cron, on in should.items() if on and not there[name].schedules.get(cron)]
        if off:
            found.append(
                warning("schedules", f"{name}: {', '.join(off)} is missing or off", _DEPLOY)
            )
    if not found and names:
        by_clock = {
            name: [text for text, on in there[name].schedules.items() if on] for name in names
        }
        on = [f"{name} ({', '.join(texts)})" for name, texts in by_clock.items() if texts]
        found.append(ok("deployments", f"all {len(names)} are there; by clock: {', '.join(on)}"))
    return found
