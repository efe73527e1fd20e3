"""A flow run that says its id and then works on without end, for a test to kill."""

import time

from prefect import flow, tags
from prefect.runtime import flow_run


@flow(name="nightly")
def nightly():
    print(flow_run.id, flush=True)
    time.sleep(600)


if __name__ == "__main__":
    with tags("segmill"):
        nightly()
