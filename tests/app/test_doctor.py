"""segmill doctor against a real store and queue, broken in the ways that people meet."""

import itertools
import json
import urllib.request
from datetime import timedelta

import boto3
import pytest

from tests.broken_s3 import BrokenS3
from tests.prefect_server import free_port

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server():
    with BrokenS3().running() as running:
        yield running


@pytest.fixture
def bucket(server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers credentials
    name = f"doctored-{next(_numbers)}"
    boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket=name)
    monkeypatch.setenv("SEGMILL_S3_ENDPOINT_URL", server.url)
    monkeypatch.setenv("SEGMILL_ROOT", f"s3://{name}/data")
    yield name
    server.refuse, server.clock_off = lambda method, path: None, timedelta()


@pytest.fixture
def ask(command, monkeypatch):
    """The findings about one subject, as (state, found, do)."""
    # Seconds of imports that no question here is about.
    monkeypatch.setattr("app.health.machine.check_accelerator", lambda device: _nothing())

    def run(check, *arguments):
        answer = command("doctor", "--json", *arguments)
        told = answer.json()
        assert answer.code == (1 if told["problems"] else 0)
        states = [item["state"] for item in told["findings"]]
        assert (told["problems"], told["warnings"]) == (
            states.count("problem"),
            states.count("warning"),
        )
        assert all(item["do"] for item in told["findings"] if item["state"] != "ok")
        return [
            (item["state"], item["found"], item["do"])
            for item in told["findings"]
            if item["check"] == check
        ]

    return run


def _nothing():
    from app.health.findings import ok

    return ok("accelerator", "not asked")


@pytest.fixture
def here(bucket, monkeypatch, root):
    """A root in a folder."""
    monkeypatch.setenv("SEGMILL_ROOT", str(root))
    root.mkdir()
    return root


def test_a_good_folder_is_well_and_left_as_it_was(ask, here):
    ((state, found, _),) = ask("store")
    assert state == "ok"
    assert "only once" in found
    assert list(here.iterdir()) == []


def test_a_root_that_is_a_file_or_below_one_or_impossible_is_a_problem(ask, here, monkeypatch):
    (here / "file").write_text("")
    for name in ("file", "file/root", "long" * 100):
        monkeypatch.setenv("SEGMILL_ROOT", str(here / name))
        assert [state for state, _, _ in ask("store")] == ["problem"], name


def test_variables_that_do_not_parse_or_do_nothing_are_named(ask, here, monkeypatch):
    monkeypatch.setenv("SEGMILL_BATCH_IMAGES", "0")
    monkeypatch.setenv("SEGMILL_PRECISION", "rough")
    monkeypatch.setenv("SEGMILL_DROP_QUITE_SECONDS", "5")
    monkeypatch.setenv("SEGMILL_XYZZY", "5")
    found = ask("settings")
    assert [state for state, _, _ in found] == ["problem", "problem", "warning", "warning"]
    assert ["SEGMILL_BATCH_IMAGES" in text for _, text, _ in found[:2]].count(True) == 1
    assert found[2][2] == "did you mean SEGMILL_DROP_QUIET_SECONDS?"
    assert found[3][2] == "remove it"


def test_models_that_are_not_there_are_named(ask, here, monkeypatch):
    monkeypatch.setenv("SEGMILL_MODEL", "file:missing.safetensors")
    monkeypatch.setenv("SEGMILL_CLIP_MODEL", "hub:org/name")
    monkeypatch.setenv("SEGMILL_LABELS", "absent")
    monkeypatch.setenv("SEGMILL_PRESET", "absent")
    for check, state in (
        ("segmenter", "problem"),
        ("labeller", "warning"),
        ("labels", "problem"),
        ("preset", "problem"),
    ):
        assert [item[0] for item in ask(check)] == [state], check


def test_files_of_training_and_gate_are_read(ask, here, monkeypatch):
    assert ask("gate") == ask("training") == []
    monkeypatch.setenv("SEGMILL_GATE", str(here / "missing.yaml"))
    monkeypatch.setenv("SEGMILL_TRAIN_CONFIG", str(here / "train.yaml"))
    (here / "train.yaml").write_text("optimiser: {lr: 1e-4}")
    ((state, found, do),) = ask("gate")
    assert (state, do) == ("problem", "correct SEGMILL_GATE")
    assert "missing.yaml" in found
    ((state, found, do),) = ask("training")
    assert (state, "optimizer" in found) == ("problem", True)
    (here / "train.yaml").write_text("model: {base: demo}")
    assert ask("training") == [("ok", f"{here / 'train.yaml'} (from demo)", "")]


def test_files_that_workers_would_look_for_elsewhere_are_named(ask, here, monkeypatch):
    monkeypatch.chdir(here)
    (here / "labels.yaml").write_text("labels: [{name: box, prompts: [a box]}]")
    monkeypatch.setenv("SEGMILL_LABELS", "labels.yaml")
    monkeypatch.setenv("SEGMILL_MODEL", "file:mine.safetensors")
    found = [text for state, text, _ in ask("settings") if state == "warning"]
    assert found == [
        "SEGMILL_MODEL is a relative path, mine.safetensors",
        "SEGMILL_LABELS is a relative path, labels.yaml",
    ]
    monkeypatch.setenv("SEGMILL_LABELS", "comic.v2")  # would be one that comes with the package
    monkeypatch.setenv("SEGMILL_GATE", "my/gate")
    found = [text for state, text, _ in ask("settings") if state == "warning"]
    assert found[1:] == ["SEGMILL_GATE is a relative path, my/gate"]


def test_rules_are_read_and_compared_with_the_labels(ask, here, monkeypatch):
    assert ask("rules") == []
    monkeypatch.setenv("SEGMILL_CURATION_RULES", "curation")
    assert [item[0] for item in ask("rules")] == ["ok"]
    (here / "rules.yaml").write_text("labels: {pannel: {}}")
    monkeypatch.setenv("SEGMILL_CURATION_RULES", str(here / "rules.yaml"))
    ((state, found, do),) = ask("rules")
    assert (state, "did you mean 'panel'" in found) == ("problem", True)
    assert do == "correct SEGMILL_CURATION_RULES"


def test_a_good_bucket_is_well_and_left_as_it_was(ask, bucket, server):
    ((state, found, _),) = ask("store")
    assert (state, "creates an object once" in found) == ("ok", True)
    assert [state for state, _, _ in ask("clock")] == ["ok"]
    assert ask("region") == []
    answer = boto3.client("s3", endpoint_url=server.url).list_objects_v2(Bucket=bucket)
    assert answer["KeyCount"] == 0


def test_a_bucket_that_is_not_there_is_told(ask, bucket, monkeypatch):
    monkeypatch.setenv("SEGMILL_ROOT", "s3://absent-bucket/data")
    ((state, found, do),) = ask("store")
    assert state == "problem"
    assert "there is no bucket absent-bucket" in found
    assert "SEGMILL_ROOT" in do


def test_a_store_that_is_down_is_told_soon(ask, bucket, monkeypatch):
    monkeypatch.setenv("SEGMILL_S3_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    ((state, found, do),) = ask("store")
    assert state == "problem"
    assert "connect" in found
    assert "SEGMILL_S3_ENDPOINT_URL" in do


def test_missing_credentials_are_told(ask, bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    ((state, found, do),) = ask("store")
    assert (state, "no credentials" in found, "AWS_ACCESS_KEY_ID" in do) == ("problem", True, True)


@pytest.mark.parametrize(
    ("status", "code", "headers", "word"),
    [
        (400, "ExpiredToken", {}, "expired"),
        (403, "InvalidAccessKeyId", {}, "not accept the credentials"),
        (403, "RequestTimeTooSkewed", {}, "clock"),
        (400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": "eu-west-1"}, "eu-west-1"),
        (403, "AccessDenied", {}, "denied"),
    ],
)
def test_what_the_store_refuses_is_told_apart(ask, bucket, server, status, code, headers, word):
    # Every request: the bucket's HEAD has no body, so the reason comes with the next one.
    server.refuse = lambda method, path: (status, code, headers)
    found = ask("store")
    assert {state for state, _, _ in found} == {"problem"}
    assert any(word in text for _, text, _ in found), found


def test_another_region_is_told(ask, bucket, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    ((state, found, do),) = ask("region")
    assert state == "problem"
    assert "us-east-1" in found
    assert "AWS_REGION" in do


def test_a_store_that_ignores_conditions_is_refused(ask, bucket, server, monkeypatch):
    original = server._app

    def forgetful(environ, start_response):
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return original(environ, start_response)

    monkeypatch.setattr(server, "_app", forgetful)
    assert [(state, "If-None-Match" in text) for state, text, _ in ask("store")] == [
        ("problem", True)
    ]


def test_rights_that_are_too_weak_are_named(ask, bucket, server, monkeypatch):
    """A user who may list and read only, on a server that checks rights."""
    iam = boto3.client("iam", endpoint_url=server.url)
    iam.create_user(UserName="reader")
    rights = [{"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"}]
    iam.put_user_policy(
        UserName="reader",
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": rights}),
    )
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setenv("SEGMILL_SQS_QUEUE_URL", f"{server.url}/123456789012/forbidden")
    _check_rights(server, "0")
    try:
        ((state, found, do),) = ask("store")
        ((queue_state, queue_found, _),) = ask("queue")
    finally:
        _check_rights(server, "inf")
    assert state == "problem"
    assert "PutObject is denied" in found or "DeleteObject is denied" in found
    assert "allow the credentials s3:" in do
    assert queue_state == "problem"
    assert "sqs:ReceiveMessage" in queue_found
    assert key["SecretAccessKey"] not in found + queue_found


def _check_rights(server, after):
    request = urllib.request.Request(f"{server.url}/moto-api/reset-auth", after.encode())
    request.add_header("Content-Type", "text/plain")
    urllib.request.urlopen(request).close()


@pytest.mark.parametrize(
    ("off", "state", "words"),
    [
        (timedelta(days=1), "problem", "1.0 days behind"),
        (timedelta(days=-1), "problem", "1.0 days ahead of"),
        (timedelta(minutes=5), "warning", "5.0 minutes behind"),
    ],
)
def test_a_clock_that_is_wrong_is_told(ask, bucket, server, off, state, words):
    server.clock_off = off
    found = ask("clock")
    assert [item[0] for item in found] == [state]
    assert words in found[0][1]


def test_a_queue_is_asked(ask, bucket, server, monkeypatch):
    queue = boto3.client("sqs", endpoint_url=server.url).create_queue(QueueName="asked")["QueueUrl"]
    monkeypatch.setenv("SEGMILL_SQS_QUEUE_URL", queue)
    assert [state for state, _, _ in ask("queue")] == ["ok"]
    monkeypatch.setenv("SEGMILL_SQS_QUEUE_URL", f"{queue}-absent")
    ((state, found, _),) = ask("queue")
    assert (state, "no such queue" in found) == ("problem", True)
    monkeypatch.setenv("SEGMILL_ROOT", "/tmp")
    assert [state for state, _, _ in ask("queue")] == ["problem"]


def test_a_server_that_is_down_or_none_is_told(ask, here, monkeypatch):
    assert [state for state, _, _ in ask("server")] == ["warning"]


def test_people_read_a_line_a_finding(command, here):
    answer = command("doctor")
    assert answer.code == 0
    assert "versions" in answer.out
    assert "→" in answer.out
    assert "0 problems" in answer.err
