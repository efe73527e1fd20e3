"""Real stores: a folder, and a bucket on an S3 server that runs for the whole session."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from storage.lake import Lake
from storage.objects import ObjectStore, open_store
from tests.lakes import image_row
from tests.s3_server import s3_process

NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, UTC)
_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with s3_process() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket; the environment points at its server, as a worker's would."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("SEGMILL_S3_ENDPOINT_URL", s3_server)
    name = f"bucket-{next(_numbers)}"
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "a root")
    return f"s3://{request.getfixturevalue('bucket')}/some/prefix"


@pytest.fixture
def store(root: str) -> ObjectStore:
    return open_store(root)


@pytest.fixture
def lake(root: str) -> Lake:
    return Lake.open(root)


@pytest.fixture
def local_lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path))


@pytest.fixture
def segment() -> Callable[..., dict[str, Any]]:
    """Make a row of the table segments; keywords replace its values."""

    def make(**values: Any) -> dict[str, Any]:
        row = {
            "segment_id": f"segment-{next(_numbers)}",
            "image_id": "image-1",
            "source": "automatic",
            "model_id": "model",
            "params_id": "params",
            "label_set_id": "labels",
            "label": "panel",
            "score": 0.75,
            "margin": 0.5,
            "top": [{"label": "panel", "cosine": 0.3, "probability": 0.75}],
            "area_px": 12,
            "bbox_xywh": [1.0, 2.0, 3.0, 4.0],
            "predicted_iou": 0.9,
            "stability_score": 0.8,
            "point_xy": [2.0, 3.0],
            "created_at": NOW,
            "rle": "61X13mN000`0",
        }
        return row | values

    return make


@pytest.fixture
def image() -> Callable[..., dict[str, Any]]:
    """Make a row of the table images; keywords replace its values."""

    def make(image_id: str, **values: Any) -> dict[str, Any]:
        return image_row(image_id, **({"ingested_at": NOW} | values))

    return make
