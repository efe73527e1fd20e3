"""Notifications of a real S3 server through a real queue; no stand-ins."""

import itertools
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_plus

import boto3
import pytest

from flows.ingest import run_ingest
from flows.requests import IngestRequest, WatchRequest
from flows.running import InProcess
from flows.watch import run_watch
from storage.lake import Lake
from storage.session import connect
from storage.settings import Settings
from tasks.notifications import receive_notices
from tests.drops import RED, write_box_drop
from tests.faults.night_process import append_without_asking
from tests.prefect_server import free_port
from tests.s3_server import s3_process

_numbers = itertools.count()


@pytest.fixture(scope="module")
def moto():
    # A process of its own: while the Delta writer waits for it, no thread of this one runs.
    with s3_process() as url:
        yield url


class Place:
    """A bucket that notifies a queue, and what watches them."""

    def __init__(self, url, number):
        self.s3, self.sqs = (boto3.client(name, endpoint_url=url) for name in ("s3", "sqs"))
        self.bucket = f"watched-{number}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.queue = self.sqs.create_queue(QueueName=f"queue-{number}")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        self.notification = {
            "QueueArn": attributes["Attributes"]["QueueArn"],
            "Events": ["s3:ObjectCreated:*"],
        }
        self.settings = Settings(
            root=f"s3://{self.bucket}/some data",
            sqs_queue_url=self.queue,
            drop_quiet_seconds=3600,
        )
        self.said, self.log = [], []

    def notify(self):
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={"QueueConfigurations": [self.notification]},
        )

    def put(self, key, data=b"x"):
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def put_drop(self, name, folder, done=True, left=4):
        write_box_drop(folder, [[((left, 4, 10, 8), RED)]], done=done)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(
                    f"some data/inbox/{name}/{path.relative_to(folder).as_posix()}",
                    path.read_bytes(),
                )

    def send(self, body):
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def event(self, key, bucket=None, name="ObjectCreated:Put"):
        where = {"bucket": {"name": bucket or self.bucket}, "object": {"key": quote_plus(key)}}
        self.send(json.dumps({"Records": [{"eventName": name, "s3": where}]}))

    def watch(self, say=None, wait_seconds=0, **settings):
        return run_watch(
            WatchRequest(dataset="boxes"),
            self.settings.model_copy(update=settings),
            InProcess(),
            say_sealed=say or self.said.append,
            log=self.log.append,
            wait_seconds=wait_seconds,
        )

    def take_messages(self):
        """Receive and delete what the queue holds; returns the bodies."""
        bodies = []
        while found := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            bodies += [message["Body"] for message in found]
            for message in found:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def ingest_twice_at_once(self, names):
        """What a doubled `drop.sealed` would start, were there no limit of one at a time."""
        self.said.append(names)
        with ThreadPoolExecutor(2) as threads:
            runs = [
                threads.submit(
                    run_ingest, IngestRequest(dataset="boxes"), self.settings, InProcess()
                )
                for _ in range(2)
            ]
        for run in runs:
            run.result().raise_for_bad_drops()

    def stored(self):
        """Rows of images and of annotations, and finished units."""
        with connect(Lake.open(self.settings.root)) as session:
            return session.execute(
                "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM annotations), "
                "(SELECT count(*) FROM units WHERE stage = 'ingest')"
            ).fetchone()

    def left(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)
        return tuple(int(answer["Attributes"][name]) for name in names)


@pytest.fixture
def place(moto, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("SEGMILL_S3_ENDPOINT_URL", moto)
    return Place(moto, next(_numbers))


def test_a_drop_is_said_and_its_messages_are_deleted(place, tmp_path):
    place.notify()
    place.put_drop("monday früh 1+1", tmp_path / "drop")
    assert place.left()[0] >= 3
    found = place.watch()
    assert place.said == [["inbox/monday früh 1+1/"]]
    assert found.drops == ["inbox/monday früh 1+1/"]
    assert found.queue_problem is None
    assert place.left() == (0, 0)
    # The event of S3 that says that notifications work is no fault, but is told.
    assert [line for line in place.log if "TestEvent" not in line] == []


def test_a_drop_that_is_still_uploading_is_found_later_without_a_message(place, tmp_path):
    place.notify()
    place.put_drop("slow", tmp_path / "drop", done=False)
    assert place.watch().drops == []
    assert place.left() == (0, 0)
    assert place.watch(drop_quiet_seconds=0).drops == ["inbox/slow/"]


def test_repeated_shuffled_and_missing_messages_change_nothing(place, tmp_path):
    for number in range(3):
        place.put_drop(f"drop {number}", tmp_path / str(number))
    keys = [f"some data/inbox/drop {number}/images/p1.png" for number in (0, 1)] * 10
    random.Random(1).shuffle(keys)
    for key in keys:
        place.event(key)
    found = place.watch()
    assert found.drops == [f"inbox/drop {number}/" for number in range(3)]
    assert (found.messages, found.refused, len(place.said)) == (20, 0, 1)
    assert place.left() == (0, 0)


def say_each_ten_times(place, folder, drops=3):
    """Put drops, send their notifications ten times each, shuffled, and act on each look."""
    place.notify()
    for number in range(drops):
        place.put_drop(f"drop {number}", folder / str(number), left=number)
    bodies = place.take_messages() * 10
    assert len(bodies) >= 10 * 3 * drops
    random.Random(1).shuffle(bodies)
    for body in bodies:
        place.send(body)
    while sum(place.left()):
        place.watch(place.ingest_twice_at_once)
    assert place.said


@pytest.mark.slow
def test_what_is_said_ten_times_and_in_any_order_is_committed_once(place, tmp_path):
    say_each_ten_times(place, tmp_path)
    assert place.stored() == (3, 3, 3)
    # The notifications of one more are all lost: the next look finds it.
    place.put_drop("unheard of", tmp_path / "unheard of", left=20)
    assert place.take_messages()
    place.said.clear()
    place.watch(place.ingest_twice_at_once)
    assert place.said == [["inbox/unheard of/"]]
    assert place.stored() == (4, 4, 4)
    assert place.watch(place.ingest_twice_at_once).drops == []


@pytest.mark.slow
def test_it_is_caught_where_the_lake_forgets_what_it_committed(place, tmp_path, monkeypatch):
    monkeypatch.setattr(Lake, "append_units", append_without_asking)
    say_each_ten_times(place, tmp_path)
    assert place.stored() != (3, 3, 3)


def test_what_is_not_about_the_inbox_is_deleted_and_told_once(place):
    bodies = [
        "no json",
        "[]",
        '{"Records": [{"s3": 1}]}',
        '{"Service": "Amazon S3", "Event": "s3:TestEvent"}',
    ]
    for body in bodies:
        place.send(body)
    place.event("some data/inbox/a/b.png", bucket="another")
    place.event("other/inbox/a/b.png")
    place.event("some data/inbox/loose.png")
    place.event("some data/inbox/a/b.png", name="ObjectRemoved:Delete")
    found = place.watch()
    assert (found.messages, found.refused, found.drops) == (8, 8, [])
    assert len(place.log) == 8
    assert all(line.isprintable() for line in place.log)
    for word in ("TestEvent", "another bucket", "not in some data/inbox/", "only new objects"):
        assert any(word in line for line in place.log), word
    assert place.left() == (0, 0)
    assert place.watch().messages == 0


def test_a_message_is_waited_for_longer_than_a_queue_lets_anybody_wait(place, monkeypatch):
    monkeypatch.setattr("storage.message_queue._LONGEST_WAIT_SECONDS", 1)
    timer = threading.Timer(2.5, place.event, ["some data/inbox/late/images/p1.png"])
    timer.start()
    found = receive_notices.fn(place.queue, place.settings.root, wait_seconds=60)
    timer.join()
    assert (len(found.messages), found.refused) == (1, [])


def test_messages_that_follow_each_other_are_one_look(place):
    events = [f"some data/inbox/large/images/{number}.png" for number in range(3)]
    timers = [
        threading.Timer(0.4 * number, place.event, [key]) for number, key in enumerate(events)
    ]
    for timer in timers:
        timer.start()
    assert place.watch(wait_seconds=60).messages == 3
    for timer in timers:
        timer.join()


def test_messages_stay_when_the_event_could_not_be_said(place, tmp_path):
    place.put_drop("kept", tmp_path / "drop")
    place.event("some data/inbox/kept/images/p1.png")

    def refuse(names):
        raise ConnectionError("no server")

    with pytest.raises(ConnectionError):
        place.watch(refuse)
    assert sum(place.left()) == 1


@pytest.mark.parametrize("kind", ["absent", "down", "no url", "folder"])
def test_a_queue_that_cannot_be_used_does_not_stop_the_sweep(place, tmp_path, kind):
    place.put_drop("swept", tmp_path / "drop")
    if kind == "folder":
        write_box_drop(tmp_path / "root" / "inbox" / "swept", [[((4, 4, 10, 8), RED)]])
        found = place.watch(root=str(tmp_path / "root"))
    else:
        url = {
            "absent": f"{place.queue}-absent",
            "down": f"http://127.0.0.1:{free_port()}/1/q",
            "no url": "queue",
        }[kind]
        found = place.watch(sqs_queue_url=url)
    assert place.said == [["inbox/swept/"]]
    assert "SEGMILL_SQS_QUEUE_URL" in found.queue_problem
    expected = {"absent": "no such queue", "down": "connect", "no url": "expected https://sqs",
        "folder": "only a root in S3"}  # fmt: skip
    assert expected[kind] in found.queue_problem
    with pytest.raises(RuntimeError, match="looked at all the same"):
        found.raise_for_queue()
