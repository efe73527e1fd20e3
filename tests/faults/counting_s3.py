"""A real S3 server that counts the requests that change it and kills a process at one of them."""

import os
import signal
import threading
from contextlib import contextmanager

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class CountingS3:
    """An S3 server on localhost.

    Attributes:
        url: Its endpoint.
        writes: Method and path of each request since `watch` that is no mere question.
    """

    def __init__(self):
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.writes = []
        self._lock = threading.Lock()
        self._victim = None
        self._at = None
        self._answered = False

    def watch(self, victim=None, at=None, answered=False):
        """Count anew, and kill a process at a request.

        Args:
            victim: Id of the process; none is killed without.
            at: Number of the write, from 0.
            answered: Whether the write is carried out before the process dies.
        """
        with self._lock:
            self.writes = []
            self._victim, self._at, self._answered = victim, at, answered

    def __call__(self, environ, start_response):
        method = environ["REQUEST_METHOD"]
        if method in ("GET", "HEAD"):
            return self._app(environ, start_response)
        with self._lock:
            number = len(self.writes)
            self.writes.append((method, environ["PATH_INFO"]))
            now = self._victim is not None and number == self._at
            victim = self._victim
        if now and not self._answered:
            os.kill(victim, signal.SIGKILL)
        answer = self._app(environ, start_response)
        if now and self._answered:
            os.kill(victim, signal.SIGKILL)
        return answer

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
