import json
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import NotificationError
from storage.s3_events import ObjectEvent, parse_events

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def record(key, bucket="mill", name="ObjectCreated:Put"):
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


@given(KEYS, st.sampled_from(["", "/"]))
def test_a_key_is_read_as_it_was_written(key, safe):
    body = json.dumps({"Records": [record(quote_plus(key, safe=safe))]})
    assert parse_events(body) == [ObjectEvent("ObjectCreated:Put", "mill", key)]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["Records", "s3", "bucket", "object", "name", "key",
        "eventName", "Type", "Message"]), inner, max_size=4), max_leaves=12))  # fmt: skip
def test_no_message_breaks_it(document):
    try:
        parse_events(json.dumps(document))
    except NotificationError as error:
        assert len(str(error)) < 200


@given(st.text(max_size=40))
def test_no_text_breaks_it(text):
    try:
        parse_events(text)
    except NotificationError as error:
        assert str(error).isprintable()


def test_a_message_through_an_sns_topic_is_read():
    inner = json.dumps({"Records": [record("a+b/c")]})
    body = json.dumps({"Type": "Notification", "Message": inner})
    assert [event.key for event in parse_events(body)] == ["a b/c"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        "{}",
        '{"Records": {}}',
        '{"Records": [1]}',
        '{"Records": [{"eventName": "x"}]}',
        json.dumps({"Records": [record(["key"])]}),
        json.dumps({"Records": [record("key", bucket=None)]}),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "mill"}),
    ],
)
def test_what_is_no_notification_is_refused(body):
    with pytest.raises(NotificationError):
        parse_events(body)


def test_only_what_was_written_counts_as_created():
    names = ["ObjectCreated:Put", "s3:ObjectCreated:Copy", "ObjectRemoved:Delete", "ObjectTagging"]
    body = json.dumps({"Records": [record("k", name=name) for name in names]})
    assert [event.created for event in parse_events(body)] == [True, True, False, False]
