import pytest
from pydantic import ValidationError

from flows.requests import IngestRequest
from storage.addresses import require_plain, without_secrets
from storage.errors import SecretInAddressError
from storage.lake import Lake
from storage.message_queue import MessageQueue
from storage.objects import open_store
from storage.settings import Settings

SECRET = "pa55word"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"http://user:{SECRET}@host:9000/a", "http://***@host:9000/a"),
        (f"http://{SECRET}@host/a", "http://***@host/a"),
        (f"https://user:{SECRET}@@host", "https://***@host"),
        (f"s3://AKIA:{SECRET}@bucket/data", "s3://***@bucket/data"),
        (f"s3://AKIA:{SECRET}/+{SECRET}@bucket/data", "s3://***@bucket/data"),
        (f"postgresql+asyncpg://u:{SECRET}@db/x", "postgresql+asyncpg://***@db/x"),
        (f"GET https://host/a?X-Amz-Signature={SECRET}: 403", "GET https://host/a?*** 403"),
        (f"'http://u:{SECRET}@h/a' and 'http://u:{SECRET}@h/b?t={SECRET}'",
         "'http://***@h/a' and 'http://***@h/b?***'"),
    ],
)  # fmt: skip
def test_users_and_queries_of_addresses_are_masked(text, shown):
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s3://bucket/user@example.org/a",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/name/a@b",
        "http://127.0.0.1:9000/bucket/a@b.png",
        "hub:org/name@main",
        "/data/a?b@c",
        "why? nobody@example.org knows",
        "SELECT * FROM segments WHERE label = 'http://x'",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text):
    assert without_secrets(text) == text
    require_plain(text, "x")


SECRET_ROOT = f"s3://AKIA:{SECRET}@bucket/data"
SECRET_URL = f"http://user:{SECRET}@127.0.0.1:9000"


@pytest.mark.parametrize(
    "use",
    [
        lambda: open_store(SECRET_ROOT),
        lambda: Lake.open(SECRET_ROOT),
        lambda: MessageQueue(f"{SECRET_URL}/1/queue"),
        lambda: IngestRequest(source=SECRET_ROOT),
        lambda: Settings(root=SECRET_ROOT),
        lambda: Settings(s3_endpoint_url=SECRET_URL),
        lambda: Settings(sqs_queue_url=f"{SECRET_URL}/1/queue"),
        lambda: Settings(engine_address=f"tcp://user:{SECRET}@host:8786"),
        lambda: Settings(notification_block=f"https://hooks.slack.com/{SECRET}"),
        lambda: Settings(batch_images=SECRET),
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(use):
    with pytest.raises((SecretInAddressError, ValidationError)) as caught:
        use()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_secret_in_a_variable_of_others_is_refused(monkeypatch, name):
    monkeypatch.setenv(name, SECRET_URL)
    with pytest.raises(SecretInAddressError, match=name) as caught:
        open_store("s3://bucket/data")
    assert SECRET not in str(caught.value)
    assert open_store("/data").root == "/data"
