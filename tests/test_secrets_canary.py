"""No secret is in what the engine says or stores: canaries are planted and searched for."""

import base64
import gzip
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.comics.drop import write_drop
from tests.broken_s3 import BrokenS3
from tests.canaries import canary, found_below, found_in
from tests.prefect_server import PREFECT, ROOT, background, free_port, prefect_server
from tests.s3_server import s3_process

# By the variable that rightly holds it.
HELD = {
    name: canary(name)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WANDB_API_KEY", "HF_TOKEN")
}
AUTH, WEBHOOK, MISPLACED, TOKEN = (canary(name) for name in ("auth", "webhook", "place", "token"))
SECRETS = [*HELD.values(), AUTH, WEBHOOK, MISPLACED, TOKEN]
SECURED = {
    "PREFECT_SERVER_API_AUTH_STRING": f"segmill:{AUTH}",
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
}
BUCKET = "canaries"
SEGMILL = [sys.executable, "-m", "app.cli"]
# Each flow is run under other variables; what it raises is shown as a worker would.
FLOWS = """
import json, os, sys, traceback
from flows.nightly import nightly
from flows.requests import NightlyRequest, WatchRequest
from flows.watch import watch
for name, variables in json.loads(sys.argv[1]):
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        flow, request = {"watch": (watch, WatchRequest), "nightly": (nightly, NightlyRequest)}[name]
        flow(request(dataset="comics"))
        print("done", name)
    except Exception:
        print("failed", name)
        traceback.print_exc()
    os.environ.clear()
    os.environ.update(before)
"""
BLOCK = """
import os
from prefect.blocks.notifications import SlackWebhook
SlackWebhook(url=os.environ["WEBHOOK"]).save("ops")
"""
WITHOUT_MASKS = """
import sys
import storage.addresses as addresses
addresses.without_secrets = lambda text: text
addresses.require_plain = lambda address, name: None
from app.cli import main
main()
"""


class Place:
    """A server, a store, and what everything that was run there said."""

    def __init__(self, folder: Path, environment: dict[str, str], store: str, broken: str) -> None:
        self.folder, self.environment = folder, environment
        self.store, self.broken = store, broken
        self.said: list[tuple[str, str]] = []

    def run(self, *command: str, seconds: float = 240, **variables: str) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        told = done.stdout + done.stderr
        self.said.append((" ".join(command[-4:])[-200:], told))
        return told

    def segmill(self, *arguments: str, **variables: str) -> str:
        return self.run(*SEGMILL, *arguments, **variables)

    def flows(self, *runs: tuple[str, dict[str, str]]) -> str:
        return self.run(sys.executable, "-c", FLOWS, json.dumps(runs))


def planted(endpoint: str) -> dict[str, str]:
    return HELD | {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "2",
        "PREFECT_API_AUTH_STRING": f"segmill:{AUTH}",
        # Results are not kept by default; here they are, to be looked at.
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "WEBHOOK": f"https://hooks.slack.com/services/T0/B0/{WEBHOOK}",
        "SEGMILL_ROOT": f"s3://{BUCKET}/data",
        "SEGMILL_S3_ENDPOINT_URL": endpoint,
        "SEGMILL_NOTIFICATION_BLOCK": "slack-webhook/ops",
        "SEGMILL_DROP_QUIET_SECONDS": "0",
    }


def misplaced(place: Place) -> dict[str, dict[str, str]]:
    """Secrets where they do not belong, by what they are."""
    host = place.store.removeprefix("http://")
    return {
        "endpoint": {"SEGMILL_S3_ENDPOINT_URL": f"http://user:{MISPLACED}@{host}"},
        "endpoint of others": {
            "SEGMILL_S3_ENDPOINT_URL": "",
            "AWS_ENDPOINT_URL": f"http://user:{MISPLACED}@{host}",
        },
        "endpoint that is down": {
            "SEGMILL_S3_ENDPOINT_URL": f"http://user:{MISPLACED}@127.0.0.1:{free_port()}"
        },
        "root": {"SEGMILL_ROOT": f"s3://AKIAEXAMPLE:{MISPLACED}@{BUCKET}/data"},
        "queue": {"SEGMILL_SQS_QUEUE_URL": f"http://user:{MISPLACED}@{host}/1/queue"},
        "webhook": {"SEGMILL_NOTIFICATION_BLOCK": f"https://hooks.slack.com/services/{MISPLACED}"},
    }


def upload(client, folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = f"data/inbox/{folder.name}/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.timeout(1500)
def test_no_canary_is_in_what_nights_failures_and_commands_say_or_store(tmp_path):
    server_folder = tmp_path / "server"
    server_folder.mkdir()
    with (
        s3_process() as store,
        BrokenS3().running() as broken,
        prefect_server(server_folder, **SECURED) as environment,
    ):
        place = Place(tmp_path, environment | planted(store), store, broken.url)
        client = boto3.client(
            "s3", endpoint_url=store, aws_access_key_id="a", aws_secret_access_key="b",
            region_name="us-east-1",
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        write_drop(tmp_path / "pages", range(910_000_300, 910_000_302), broken=True, size_px=256)
        upload(client, tmp_path / "pages")
        _a_night_on_a_worker(place)
        _flows_that_fail(place, broken)
        _commands(place)
        _commands_with_secrets_in_wrong_places(place)
        stored = _objects(client, tmp_path / "objects")
    assert stored > 20
    hits = _hits(place)
    assert not hits, "\n".join(map(str, hits))


def _a_night_on_a_worker(place: Place) -> None:
    place.run(sys.executable, "-c", BLOCK)
    assert "created" in place.segmill("provision", "--dry-run")
    place.segmill("provision")
    deployed = place.run(*PREFECT, "--no-prompt", "deploy", "--all")
    assert "nightly/nightly" in deployed
    worker = [*PREFECT, "worker", "start", "--pool", "cpu"]
    with background(worker, place.environment, place.folder / "worker.log"):
        command = [*PREFECT, "deployment", "run", "nightly/nightly", "--watch"]
        parameters = 'request={"dataset": "comics"}'
        told = place.run(*command, "--param", parameters, seconds=600)
    # A broken page is too much of so small a drop: the night fails, after everything was stored.
    assert "Failed" in told, told + (place.folder / "worker.log").read_text()


def _flows_that_fail(place: Place, broken: BrokenS3) -> None:
    broken.refuse = lambda method, path: (403, "SignatureDoesNotMatch", {})
    absent = {"SEGMILL_SQS_QUEUE_URL": f"{place.store}/123456789012/absent"}
    told = place.flows(
        ("watch", {}),
        ("watch", absent),
        ("nightly", {"SEGMILL_S3_ENDPOINT_URL": place.broken}),
        ("nightly", {"SEGMILL_MODEL": "file:absent"}),
        *(("nightly", variables) for variables in misplaced(place).values()),
    )
    assert told.count("failed nightly") == 2 + len(misplaced(place))
    assert "SignatureDoesNotMatch" in told


def _commands(place: Place) -> None:
    for arguments in (
        ["status"],
        ["status", "--json", "--dataset", "comics"],
        ["watch", "--dataset", "comics"],
        ["doctor"],
        ["open"],
        ["sql", "SELECT * FROM images"],
        ["verify"],
    ):
        place.segmill(*arguments)
    place.segmill("doctor", "--json", SEGMILL_S3_ENDPOINT_URL=place.broken)
    place.segmill("ingest", SEGMILL_S3_ENDPOINT_URL=place.broken)
    place.segmill("provision", "--dry-run", PREFECT_API_AUTH_STRING=f"segmill:{TOKEN}")
    place.segmill("status", PREFECT_API_AUTH_STRING=f"segmill:{TOKEN}")


def _commands_with_secrets_in_wrong_places(place: Place) -> None:
    for variables in misplaced(place).values():
        place.segmill("ingest", "--dry-run", **variables)
        place.segmill("doctor", "--json", **variables)
    secret_root = f"s3://AKIAEXAMPLE:{MISPLACED}/{MISPLACED}@{BUCKET}/data"
    assert "has a user or a password in it" in place.segmill("status", "--root", secret_root)
    assert "has a user or a password in it" in place.segmill("ingest", secret_root)
    assert "has a user or a password in it" in place.segmill("check", secret_root)
    api = place.environment["PREFECT_API_URL"].replace("://", f"://segmill:{MISPLACED}@")
    for verb in (["doctor"], ["status"], ["watch"], ["provision", "--dry-run"]):
        place.segmill(*verb, PREFECT_API_URL=api)
        place.segmill(*verb, PREFECT_API_URL=api.replace("/api", "/nothing"))
    for address in (
        f"http://user:{MISPLACED}@127.0.0.1:{free_port()}/model.safetensors?token={TOKEN}",
        f"{place.store}/model.safetensors?X-Amz-Signature={TOKEN}",
        f"http://[{MISPLACED}?token={TOKEN}",
    ):
        into = ["--into", str(place.folder / "models")]
        place.segmill("models", "pull", address, "--sha256", "0" * 64, *into)
        place.segmill("models", "pull", address, *into)


def _objects(client, into: Path) -> int:
    count = 0
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    for page in pages:
        for item in page.get("Contents", ()):
            count += 1
            into.mkdir(exist_ok=True)
            body = client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            (into / item["Key"].replace("/", "__")).write_bytes(body)
    return count


def _hits(place: Place) -> list:
    said = [
        (name, found) for name, told in place.said if (found := found_in(told.encode(), SECRETS))
    ]
    # Prefect's home has the database, its journal, and results.
    assert list(place.folder.rglob("prefect.db"))
    assert list((place.folder / "server/prefect/storage").iterdir())
    return said + found_below(place.folder, SECRETS)


def test_without_the_masks_a_canary_is_found():
    endpoint = f"http://user:{MISPLACED}@127.0.0.1:{free_port()}"
    told = []
    for program in (["-m", "app.cli"], ["-c", WITHOUT_MASKS]):
        done = subprocess.run(
            [sys.executable, *program, "ingest", "--root", "s3://bucket/data"],
            cwd=ROOT, capture_output=True, text=True, timeout=120,
            env=os.environ | planted(endpoint) | {"AWS_MAX_ATTEMPTS": "1"},
        )  # fmt: skip
        assert done.returncode != 0
        told.append(found_in((done.stdout + done.stderr).encode(), SECRETS))
    assert told == [set(), {MISPLACED}]


@pytest.mark.parametrize("form", ["plain", "base64", "header", "gzip", "parquet", "sqlite", "wal"])
def test_the_search_finds_a_secret_in_every_form(tmp_path, form):
    secret, path = canary("searched"), tmp_path / "a" / "file"
    path.parent.mkdir()
    if form == "plain":
        path.write_text(f"…{secret}…")
    elif form == "base64":
        path.write_bytes(base64.b64encode(b"\x80\x04result" + secret.encode() + b"end"))
    elif form == "header":
        path.write_bytes(b"Basic " + base64.b64encode(f"user:{secret}".encode()))
    elif form == "gzip":
        path.write_bytes(gzip.compress(secret.encode() * 3))
    elif form == "parquet":
        rows = pa.table({"uri": [f"s3://x:{secret}@bucket"] * 1000, "n": list(range(1000))})
        pq.write_table(rows, path, compression="zstd")
    else:
        with closing(sqlite3.connect(path)) as database:
            if form == "wal":
                database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE log (message TEXT)")
            # Longer than a page, so that it is cut.
            message = "x" * 4080 + secret + "y" * 9000
            database.execute("INSERT INTO log VALUES (?)", [message])
            database.commit()
    assert found_below(tmp_path, [secret, canary("another")]) == [("a/file", {secret})]
