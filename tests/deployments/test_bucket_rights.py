"""The access policies allow what nights and maintenance ask of a bucket, and little else.

No store that enforces policies runs here: what is asked is recorded on a real S3 server, and the
policies are applied to that by the few rules of theirs that are used.
"""

import json
import logging
import shutil
from dataclasses import replace
from fnmatch import fnmatchcase

import boto3
import pytest

from app.health.store import check_store
from flows.maintain import run_maintain
from flows.nightly import run_nightly
from flows.requests import MaintainRequest, NightlyRequest
from flows.running import InProcess
from storage.settings import Settings
from tasks.live_model import local_reference, resolve_reference
from tasks.models import LoadedModels
from tasks.promote_model import promote_by_hand
from tests.deployments.recording_s3 import Asked, RecordingS3
from tests.drops import BLUE, RED, write_box_drop
from tests.fakes import ColorLabeller, ComponentSegmenter
from tests.model_files import put_models
from tests.prefect_server import ROOT

pytestmark = pytest.mark.slow

POLICIES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "deployments" / "policies").glob("*.json"))
}
OBJECTS, BUCKET = "arn:aws:s3:::BUCKET/PREFIX/", "arn:aws:s3:::BUCKET"
PREFIXES = {"inbox", "images", "masks", "models", "lake", "reports", "attempts", "probes"}


@pytest.fixture(autouse=True, scope="module")
def quiet_server():
    """Thousands of lines about requests, else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("werkzeug"), "disabled", True)
        yield


def as_list(value):
    return value if isinstance(value, list) else [value]


def applies(statement, asked, role):
    """Whether a statement is about a request; conditions are those that the policies have."""
    if not any(fnmatchcase(asked.action, action) for action in as_list(statement["Action"])):
        return False
    listed = asked.action == "s3:ListBucket"
    resource = BUCKET if listed else OBJECTS + asked.key
    if not any(fnmatchcase(resource, arn) for arn in as_list(statement["Resource"])):
        return False
    for operator, condition in statement.get("Condition", {}).items():
        for name, wanted in condition.items():
            if (operator, name) == ("StringLike", "s3:prefix"):
                met = any(fnmatchcase(f"PREFIX/{asked.key}", item) for item in as_list(wanted))
            elif (operator, name) == ("Null", "s3:if-none-match"):
                met = wanted == str(not asked.conditional).lower()
            elif (operator, name) == ("Bool", "s3:ObjectCreationOperation"):
                met = wanted == "true"  # of a whole object; parts of one are not asked here
            elif (operator, name) == ("ArnNotLike", "aws:PrincipalArn"):
                met = not fnmatchcase(f"arn:aws:iam::ACCOUNT:role/segmill-{role}", wanted)
            elif (operator, name) == ("Bool", "aws:SecureTransport"):
                met = False  # all speak TLS
            else:
                raise AssertionError(f"the test does not know {operator} {name}")
            if not met:
                return False
    return True


def may(role, asked):
    own = POLICIES[role]["Statement"]
    both = own + POLICIES["bucket"]["Statement"]
    denied = any(s["Effect"] == "Deny" and applies(s, asked, role) for s in both)
    return not denied and any(s["Effect"] == "Allow" and applies(s, asked, role) for s in own)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What two nights, a doctor, and maintenance ask of a bucket, by whose right it should be."""
    folder = tmp_path_factory.mktemp("rights")
    patch = pytest.MonkeyPatch()
    server = RecordingS3("rights")
    with server.running(), patch.context() as context:
        context.setenv("AWS_ENDPOINT_URL", server.url)
        context.setenv("AWS_ACCESS_KEY_ID", "test")
        context.setenv("AWS_SECRET_ACCESS_KEY", "test")
        context.setenv("AWS_DEFAULT_REGION", "us-east-1")
        context.setattr(
            "tasks.segment_batch.load_models",
            lambda choice, device: LoadedModels(ComponentSegmenter(), ColorLabeller()),
        )
        context.setenv("SEGMILL_MODELS_CACHE", str(folder / "cache"))
        (folder / "namer.safetensors").write_bytes(b"namer")
        bucket = boto3.resource("s3").Bucket("rights")
        bucket.create()
        settings = Settings(root="s3://rights/data", vacuum_retention_hours=1)
        put_models(settings.root, folder, "a")
        promote_by_hand(settings.root, "a", "a test")
        request = NightlyRequest(
            dataset="boxes",
            model="promoted",
            clip_model=f"file:{folder / 'namer.safetensors'}",
        )
        found = {"worker": set(), "maintainer": set()}
        for night, color in enumerate((RED, BLUE)):
            drop = folder / f"day-{night}"
            write_box_drop(drop, [[((4 + night, 4, 10, 8), color)]])
            for path in sorted(drop.rglob("*")):
                if path.is_file():
                    name = path.relative_to(folder).as_posix()
                    bucket.put_object(Key=f"data/inbox/{name}", Body=path.read_bytes())
            server.asked.clear()
            run_nightly(request, settings, InProcess())
            shutil.rmtree(folder / "cache")  # another machine, which loads what is live
            live = resolve_reference("promoted", settings.root)
            local_reference(live.reference, settings.root)
            found["worker"] |= server.asked
            server.asked.clear()
            run_maintain(MaintainRequest(), settings, InProcess())
            found["maintainer"] |= server.asked
        server.asked.clear()
        findings, _ = check_store(settings)
        assert [finding.state for finding in findings] == ["ok"]
        found["worker"] |= server.asked
    return {
        role: {replace(item, key=item.key.removeprefix("data/")) for item in items}
        for role, items in found.items()
    }


@pytest.mark.parametrize("role", ["worker", "maintainer"])
def test_a_role_may_do_all_that_its_runs_ask(asked, role):
    assert len(asked[role]) > 20
    refused = sorted(str(item) for item in asked[role] if not may(role, item))
    assert not refused


def test_a_worker_fetches_the_live_model(asked):
    fetched = {item.key.split("/")[-1] for item in asked["worker"]
               if item.action == "s3:GetObject" and item.key.startswith("models/")}  # fmt: skip
    assert fetched == {"model.safetensors", "config.json", "manifest.json"}


def test_commits_are_conditional(asked):
    commits = [
        item
        for items in asked.values()
        for item in items
        if item.action == "s3:PutObject" and fnmatchcase(item.key, "lake/*/_delta_log/*.json")
    ]
    assert len(commits) > 10
    assert all(item.conditional for item in commits)


COMMIT = "lake/segments/_delta_log/00000000000000000003.json"


@pytest.mark.parametrize(
    "key", [COMMIT, "lake/segments/part.parquet", "images/ab/ab12.png", "inbox/day/_DONE",
            "models/m/model.safetensors", "masks/d/train/1_1.png"],
)  # fmt: skip
def test_a_worker_cannot_delete_data_commits_or_models(key):
    assert not may("worker", Asked("s3:DeleteObject", key))


def test_nobody_writes_over_a_commit():
    for role in ("worker", "maintainer"):
        assert may(role, Asked("s3:PutObject", COMMIT, conditional=True))
        assert not may(role, Asked("s3:PutObject", COMMIT))


def test_only_maintenance_deletes_old_files_of_tables_and_nothing_else():
    assert may("maintainer", Asked("s3:DeleteObject", "lake/segments/part.parquet"))
    assert may("maintainer", Asked("s3:DeleteObject", COMMIT))
    for key in ("images/ab/ab12.png", "inbox/day/_DONE", "models/m/model.safetensors"):
        assert not may("maintainer", Asked("s3:DeleteObject", key))


def test_a_worker_cannot_put_drops_or_models_there():
    for key in ("inbox/day/picture.png", "models/m/model.safetensors"):
        assert not may("worker", Asked("s3:PutObject", key))


def test_policies_name_only_prefixes_that_the_code_uses_and_no_actions_on_all():
    for policy in POLICIES.values():
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement["Effect"] in ("Allow", "Deny")
            assert all("*" not in action or statement["Effect"] == "Deny"
                       for action in as_list(statement["Action"]))  # fmt: skip
            for arn in as_list(statement["Resource"]):
                if arn.startswith(OBJECTS):
                    assert arn.removeprefix(OBJECTS).split("/")[0] in PREFIXES
                else:
                    assert statement["Effect"] == "Deny" or arn == BUCKET
