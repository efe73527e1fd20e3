"""Finds and seals drops as a user who is not root, whom modes stop; prints what it did."""

import json
import os
import sys
from pathlib import Path

import deltalake  # noqa: F401  while the environment may still be read
import duckdb  # noqa: F401

from flows.requests import WatchRequest
from flows.running import InProcess
from flows.watch import run_watch
from storage.errors import StorageError
from storage.settings import Settings
from tasks.drop_units import Limits
from tasks.drops import find_drops
from tasks.seal_drops import UNSAFE, seal_drops

NOBODY = 65534
CANNOT = 77
"""How the process ends where it is root and cannot become anybody else."""


def main(root: str) -> None:
    settings = Settings(root=root)
    if os.geteuid() == 0:
        # The tables and the images; what lies in the inbox stays as it is.
        os.chown(root, NOBODY, NOBODY)
        for path in Path(root).rglob("*"):
            if "inbox" not in path.parts:
                os.chown(path, NOBODY, NOBODY)
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        except PermissionError:
            sys.exit(CANNOT)
    said: list[str] = []
    watched = run_watch(
        WatchRequest(dataset="boxes"), settings, InProcess(), say_sealed=said.extend, log=print
    )
    sealed = seal_drops.fn(
        root, find_drops.fn(root, "boxes", settings.drop_quiet_seconds, Limits.of(settings))
    )
    print(
        json.dumps(
            {
                "said": said,
                "unreadable": watched.unreadable,
                "sealed": {
                    drop.place.prefix: [
                        len(drop.files),
                        sum(file.refused == UNSAFE for file in drop.files),
                    ]
                    for drop in sealed.drops
                },
                "failed": [[drop.place.prefix, drop.reason] for drop in sealed.failed],
            }
        )
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except StorageError as error:
        print(json.dumps({"error": str(error)}))
