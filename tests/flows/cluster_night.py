"""Segment the images of a root on a cluster of two nodes; test_engines.py runs it."""

import os
import sys

from tests.clusters import CLUSTERS


def main() -> None:
    engine = sys.argv[1]
    with CLUSTERS[engine](2) as address:
        os.environ["SEGMILL_ENGINE"] = engine
        os.environ["SEGMILL_ENGINE_ADDRESS"] = address
        from flows.requests import SegmentRequest
        from flows.segment import segment

        segment(SegmentRequest(dataset="comics"))


if __name__ == "__main__":
    main()
