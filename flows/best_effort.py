"""Requests to the Prefect server that a run can do without."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from httpx import HTTPError
from prefect.exceptions import PrefectException

_log = logging.getLogger(__name__)


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Go on, with a warning, where the server does not answer or refuses.

    Args:
        what: What is asked of it, as in "could not cancel the run".
    """
    try:
        yield
    except (PrefectException, HTTPError) as error:
        _log.warning("could not %s: %s", what, error)
