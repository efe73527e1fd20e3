import itertools
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from storage.errors import ConditionalWritesError, ObjectNotFoundError, StoreRefusedError
from storage.lake import Lake
from storage.objects.s3 import S3Store
from tests.faults.faulty_s3 import FaultyS3

CONTENT = bytes(range(256)) * 20_000
_numbers = itertools.count()


@pytest.fixture
def s3(s3_server: str, bucket: str) -> S3Store:
    store = S3Store(bucket, "prefix", endpoint_url=s3_server)
    store.require_conditional_writes()
    return store


@pytest.fixture
def answers(s3: S3Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Change what the store's client receives; the server still does what it was asked."""

    def replace(change: Callable[[int, Any], Any]) -> list[int]:
        session = s3._client._endpoint.http_session
        original = session.send
        statuses: list[int] = []

        def send(request: Any) -> Any:
            answer = change(len(statuses), lambda: original(request))
            statuses.append(answer.status_code)
            return answer

        monkeypatch.setattr(session, "send", send)
        # Standard retries wait up to seconds; the number of attempts is what matters here.
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
        return statuses

    return replace


def _answer(status: int, code: str) -> AWSResponse:
    class Body:
        def stream(self, **_: Any) -> Any:
            yield f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    return AWSResponse("http://server", status, {}, Body())


def test_a_lost_answer_to_our_own_create_is_not_taken_for_somebody_elses(
    s3: S3Store, answers: Callable[..., list[int]]
):
    def lose_first(number: int, send: Any) -> Any:
        answer = send()
        return _answer(500, "InternalError") if number == 0 else answer

    statuses = answers(lose_first)
    assert s3.create("seal", b"ours")
    assert statuses[:2] == [500, 412], "the client must have sent it again and been refused"
    assert s3.read("seal") == b"ours"


def test_a_lost_answer_does_not_hide_that_somebody_else_was_first(
    s3: S3Store, answers: Callable[..., list[int]]
):
    s3.write("seal", b"theirs")

    def lose_first(number: int, send: Any) -> Any:
        answer = send()
        return _answer(500, "InternalError") if number == 0 else answer

    answers(lose_first)
    assert not s3.create("seal", b"ours")
    assert s3.read("seal") == b"theirs"


def test_a_conflict_of_simultaneous_writers_is_tried_again(
    s3: S3Store, answers: Callable[..., list[int]]
):
    def conflict_first(number: int, send: Any) -> Any:
        return _answer(409, "ConditionalRequestConflict") if number < 2 else send()

    statuses = answers(conflict_first)
    assert s3.create("seal", b"ours")
    assert statuses == [409, 409, 200]


def test_a_busy_store_is_asked_again_and_a_dead_one_is_given_up(
    s3: S3Store, answers: Callable[..., list[int]]
):
    s3.write("a", b"x")
    busy = answers(lambda number, send: _answer(503, "SlowDown") if number < 3 else send())
    assert s3.read("a") == b"x"
    assert busy == [503, 503, 503, 200]
    dead = answers(lambda number, send: _answer(503, "SlowDown"))
    with pytest.raises(StoreRefusedError, match=r"overloaded or broken \(SlowDown\)"):
        s3.read("a")
    assert len(dead) == 6


def test_a_store_that_ignores_conditions_is_refused_before_anything_is_written(
    s3_server: str, bucket: str
):
    store = S3Store(bucket, "prefix", endpoint_url=s3_server)

    def forget(request: Any, **_: Any) -> None:
        del request.headers["If-None-Match"]

    store._client.meta.events.register("before-sign.s3.PutObject", forget)
    with pytest.raises(ConditionalWritesError, match=f"s3://{bucket}/prefix"):
        store.create("seal", b"x")
    assert list(store.list()) == []


def test_probing_leaves_nothing_behind(s3: S3Store):
    assert list(s3.list()) == []


def test_a_missing_bucket_is_not_a_missing_object(s3_server: str, bucket: str):
    store = S3Store(f"{bucket}-absent", endpoint_url=s3_server)
    for step in (
        lambda: store.read("a"),
        lambda: list(store.list()),
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
        lambda: store.delete("a"),
        lambda: Lake.open(f"s3://{bucket}-absent").read("images"),
    ):
        with pytest.raises(StoreRefusedError, match=f"there is no bucket {bucket}-absent"):
            step()


def test_a_folder_made_by_a_console_is_no_object(s3: S3Store):
    s3._client.put_object(Bucket=s3._bucket, Key="prefix/folder/", Body=b"")
    s3.write("folder/a", b"x")
    assert [info.key for info in s3.list()] == ["folder/a"]


def test_stores_with_similar_prefixes_do_not_see_each_other(s3_server: str, bucket: str):
    S3Store(bucket, "root", endpoint_url=s3_server).write("a", b"x")
    S3Store(bucket, "root-2", endpoint_url=s3_server).write("b", b"x")
    assert [info.key for info in S3Store(bucket, "root", endpoint_url=s3_server).list()] == ["a"]


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("storage.objects.s3._READ_TIMEOUT_SECONDS", 1)
    with FaultyS3().running() as server:
        yield server


@pytest.fixture
def behind_faults(faulty: FaultyS3) -> S3Store:
    """A store with the object `a`, on a server that can cut its answers."""
    # The servers of a process keep what they have in one place.
    name = f"cut-{next(_numbers)}"
    boto3.client("s3", endpoint_url=faulty.url).create_bucket(Bucket=name)
    store = S3Store(name, endpoint_url=faulty.url)
    store.write("a", CONTENT)
    return store


READERS = [
    pytest.param(lambda store: store.read("a"), id="read"),
    pytest.param(lambda store: b"".join(store.read_chunks("a")), id="read_chunks"),
]


@pytest.mark.parametrize("fault", ["truncated", "stalled"])
@pytest.mark.parametrize("read", READERS)
def test_an_answer_that_breaks_off_or_stalls_is_asked_for_again(
    faulty: FaultyS3, behind_faults: S3Store, read: Callable[[S3Store], bytes], fault: str
):
    faulty.disturb(lambda number: fault if number < 2 else None)
    assert read(behind_faults) == CONTENT
    assert faulty.faults == 2


@pytest.mark.parametrize("read", READERS)
def test_a_store_whose_answers_all_break_off_is_given_up(
    faulty: FaultyS3, behind_faults: S3Store, read: Callable[[S3Store], bytes]
):
    faulty.disturb(lambda number: "truncated")
    with pytest.raises(StoreRefusedError):
        read(behind_faults)
    assert faulty.faults == 6


def test_pieces_of_an_object_that_was_overwritten_meanwhile_are_not_mixed(
    faulty: FaultyS3, behind_faults: S3Store
):
    faulty.disturb(lambda number: "truncated" if number == 0 else None)
    pieces = behind_faults.read_chunks("a")
    assert next(pieces) == CONTENT[: 2**20]
    behind_faults.write("a", CONTENT[::-1])
    with pytest.raises(ObjectNotFoundError):
        list(pieces)
