"""A real S3 server whose answers get lost, cut short, late, or are errors."""

import random
import socket
import threading
import time

from tests.faults.counting_s3 import CountingS3

FAULTS = ("500", "503", "lost", "reset", "truncated", "slow")
_BODY = {
    "500": b"<Error><Code>InternalError</Code><Message>We failed</Message></Error>",
    "503": b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>",
}
_STALL_SECONDS = 4
_STATUS = {"500": "500 Internal Server Error", "503": "503 Slow Down"}


class FaultyS3(CountingS3):
    """An S3 server on localhost.

    500 and 503 are answered without doing what was asked; `lost` does it and closes the connection;
    `reset` closes it before; `truncated` sends half of the answer's body; `slow` waits before it.
    `stalled` sends half and then nothing: clients wait a minute, so it is none of `FAULTS`.
    """

    def __init__(self):
        super().__init__()
        self._fault_of = lambda number: None
        self._count = threading.Lock()
        self._number = 0
        self.faults = 0

    def disturb(self, fault_of):
        """Say by a function from a request's number to a fault, or None, what goes wrong now."""
        with self._count:
            self._fault_of, self._number, self.faults = fault_of, 0, 0

    def at_random(self, share, seed):
        """Let a share of all requests be answered by an error."""
        chosen = random.Random(seed)
        self.disturb(lambda _: chosen.choice(("500", "503")) if chosen.random() < share else None)

    def __call__(self, environ, start_response):
        with self._count:
            fault = self._fault_of(self._number)
            self._number += 1
            self.faults += fault is not None
        if fault is None:
            return super().__call__(environ, start_response)
        if fault == "slow":
            time.sleep(1)
            return super().__call__(environ, start_response)
        if fault in _BODY:
            chunked = environ.get("wsgi.input_terminated")
            environ["wsgi.input"].read(-1 if chunked else int(environ.get("CONTENT_LENGTH") or 0))
            answer = [
                ("Content-Type", "application/xml"),
                ("Content-Length", str(len(_BODY[fault]))),
            ]
            start_response(_STATUS[fault], answer)
            return [_BODY[fault]]
        if fault == "reset":
            return _closed(environ)
        answered = {}

        def keep(status, headers, *_):
            answered.update(status=status, headers=headers)

        body = b"".join(super().__call__(environ, keep))
        if fault == "lost" or len(body) < 2:
            return _closed(environ)
        start_response(answered["status"], answered["headers"])
        return _half(body, environ, stall=fault == "stalled")


def _closed(environ):
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return [b""]


def _half(body, environ, stall):
    yield body[: len(body) // 2]
    if stall:
        time.sleep(_STALL_SECONDS)
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
