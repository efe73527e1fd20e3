"""A real S3 and SQS server that can refuse requests, and whose clock can be wrong."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class _Handler(WSGIRequestHandler):
    def date_time_string(self, timestamp=None):
        return format_datetime(datetime.now(UTC) + self.server.app.clock_off, usegmt=True)

    def log_request(self, *_):
        pass


class BrokenS3:
    """A server on localhost.

    Attributes:
        url: Its endpoint.
        refuse: Asked for each request with method and path; (status, code, headers) or None.
        clock_off: How far its clock is from the real one.
    """

    def __init__(self):
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Handler)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.refuse = lambda method, path: None
        self.clock_off = timedelta()

    def __call__(self, environ, start_response):
        answer = self.refuse(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if answer is None:
            return self._app(environ, start_response)
        status, code, headers = answer
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        if environ["REQUEST_METHOD"] == "HEAD":
            body = b""
        start_response(f"{status} No", [("Content-Type", "application/xml"), *headers.items()])
        return [body]

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
