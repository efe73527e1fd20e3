"""An S3 server that remembers what it was asked, as the actions of access policies."""

import io
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from tests.faults.counting_s3 import CountingS3


@dataclass(frozen=True)
class Asked:
    """A request in the words of policies.

    Attributes:
        action: Such as `s3:PutObject`.
        key: The object's key, or the prefix that was listed.
        conditional: Whether it must not replace an object.
    """

    action: str
    key: str
    conditional: bool = False


class RecordingS3(CountingS3):
    """Remembers in `asked` what was asked of one bucket."""

    def __init__(self, bucket):
        super().__init__()
        self._bucket = bucket
        self.asked = set()

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        self.asked |= set(self._read(environ, body))
        return super().__call__(environ, start_response)

    def _read(self, environ, body):
        bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
        query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        method = environ["REQUEST_METHOD"]
        if bucket != self._bucket:
            return
        if "delete" in query:
            for deleted in re.findall(rb"<Key>(.*?)</Key>", body):
                yield Asked("s3:DeleteObject", deleted.decode())
        elif not key and method == "GET":
            yield Asked("s3:ListBucket", query.get("prefix", [""])[0])
        elif key:
            action = {"GET": "Get", "HEAD": "Get", "DELETE": "Delete"}.get(method, "Put")
            yield Asked(f"s3:{action}Object", key, environ.get("HTTP_IF_NONE_MATCH") == "*")
