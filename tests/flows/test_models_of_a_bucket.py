"""A worker that has nothing but the address of a bucket loads the model that is live there."""

import boto3
import pytest
from safetensors.torch import load_file, save_file

from storage.errors import DamagedModelError
from storage.model_store import ModelStore
from tasks.models import Compute, choose_models, load_models
from tasks.promote_model import promote_by_hand, roll_back
from tests.s3_server import s3_process
from vision.models import DEMO_FOLDER, resolve_model

CHOSEN = {"clip_model": "demo", "preset": "demo", "precision": "exact", "labels": "comic"}
ROOT = "s3://mill/data"


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    with s3_process() as url:
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SEGMILL_MODELS_CACHE": str(tmp_path / "cache"),
        }.items():
            monkeypatch.setenv(name, value)
        made = boto3.resource("s3").Bucket("mill")
        made.create()
        yield made


def test_a_worker_fetches_the_live_model_and_refuses_a_harmed_one(bucket, tmp_path, monkeypatch):
    tensors = load_file(DEMO_FOLDER / "sam2.safetensors")
    tensors["no_mem_embed"] = tensors["no_mem_embed"] + 1e-3
    save_file(tensors, tmp_path / "tuned.safetensors")
    model, _ = ModelStore(ROOT).put("tuned", tmp_path / "tuned.safetensors", {})
    promote_by_hand(ROOT, "tuned", "a test")
    (tmp_path / "tuned.safetensors").unlink()

    chosen = choose_models.fn(model="promoted", root=ROOT, **CHOSEN)
    assert chosen.segmenter == f"model:{model.model_id}"
    monkeypatch.setenv("SEGMILL_MODELS_CACHE", str(tmp_path / "another machine"))
    loaded = load_models(chosen, Compute("cpu"))
    assert loaded.segmenter.model_id == model.model_id
    fetched = tmp_path / "another machine" / model.model_id
    assert sorted(path.name for path in fetched.iterdir()) == [
        "config.json", "manifest.json", "model.safetensors",
    ]  # fmt: skip

    key = f"data/{model.prefix}model.safetensors"
    body = bucket.Object(key).get()["Body"].read()
    bucket.put_object(Key=key, Body=body[:-1] + bytes([body[-1] ^ 1]))
    monkeypatch.setenv("SEGMILL_MODELS_CACHE", str(tmp_path / "a third"))
    load_models(choose_models.fn(model="demo", root=ROOT, **CHOSEN), Compute("cpu"))
    with pytest.raises(DamagedModelError, match=r"s3://mill/data/models/.*model\.safetensors"):
        load_models(chosen, Compute("cpu"))
    assert roll_back(ROOT).live_id == resolve_model("demo").model_id
