import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage import model_cache
from storage.errors import DamagedModelError, ModelTooLargeError
from storage.model_cache import ModelCache
from storage.model_store import ModelStore, StoredModel
from tests.model_files import put_models, weights_file


@pytest.fixture
def models(bucket: str) -> ModelStore:
    return ModelStore(f"s3://{bucket}/some/prefix")


@pytest.fixture
def stored(models: ModelStore, tmp_path: Path) -> list[StoredModel]:
    return put_models(models.objects.root, tmp_path / "made")


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache", most_bytes=10**6, most_model_bytes=10**5)


def test_a_model_of_a_bucket_is_fetched_once(
    models: ModelStore, stored: list[StoredModel], cache: ModelCache, tmp_path: Path
):
    path = cache.weights(models, stored[0])
    assert path == tmp_path / "cache" / stored[0].model_id / "model.safetensors"
    assert path.read_bytes() == (tmp_path / "made" / "a.safetensors").read_bytes()
    assert (path.parent / "manifest.json").is_file()
    inode = path.stat().st_ino
    assert cache.weights(models, stored[0]).stat().st_ino == inode


def test_a_model_of_a_folder_is_used_where_it_is(cache: ModelCache, tmp_path: Path):
    (model,) = put_models(str(tmp_path / "root"), tmp_path, "a")
    path = cache.weights(ModelStore(str(tmp_path / "root")), model)
    assert path == tmp_path / "root" / model.prefix / "model.safetensors"
    assert not (tmp_path / "cache").exists()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedModelError, match=str(path)):
        cache.weights(ModelStore(str(tmp_path / "root")), model)


def test_many_at_once_fetch_one_whole_model(
    models: ModelStore, stored: list[StoredModel], cache: ModelCache, tmp_path: Path
):
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: cache.weights(models, stored[0]), range(6)))
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == (tmp_path / "made" / "a.safetensors").read_bytes()
    assert not list((tmp_path / "cache").glob(".fetching-*"))


def test_what_is_harmed_here_is_fetched_again(
    models: ModelStore, stored: list[StoredModel], cache: ModelCache
):
    path = cache.weights(models, stored[0])
    good = path.read_bytes()
    for bad in (good[:-1], good[:-1] + bytes([good[-1] ^ 1]), b""):
        path.write_bytes(bad)
        assert cache.weights(models, stored[0]).read_bytes() == good
    (path.parent / "manifest.json").unlink()
    assert cache.weights(models, stored[0]).read_bytes() == good


def test_what_is_harmed_in_the_bucket_is_refused_and_not_kept(
    models: ModelStore, stored: list[StoredModel], cache: ModelCache, tmp_path: Path
):
    key = f"{stored[0].prefix}model.safetensors"
    models.objects.write(key, models.objects.read(key)[:-1] + b"x")
    with pytest.raises(DamagedModelError, match=r"model\.safetensors.*expected sha256"):
        cache.weights(models, stored[0])
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_what_a_dead_process_left_is_no_hindrance(
    models: ModelStore, stored: list[StoredModel], cache: ModelCache, tmp_path: Path
):
    left = tmp_path / "cache" / f".fetching-{stored[0].model_id}"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    assert cache.weights(models, stored[0]).is_file()
    assert not left.exists()


def test_a_disk_that_refuses_leaves_nothing(
    models: ModelStore, stored: list[StoredModel], cache: ModelCache, tmp_path: Path, monkeypatch
):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ModelStore, "copy_file", refuse)
    with pytest.raises(OSError, match="No space"):
        cache.weights(models, stored[0])
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_model_that_is_too_large_is_not_fetched(
    models: ModelStore, stored: list[StoredModel], tmp_path: Path
):
    with pytest.raises(ModelTooLargeError, match="SEGMILL_MAX_MODEL_BYTES"):
        ModelCache(tmp_path / "cache", 10**6, 50).weights(models, stored[0])
    assert not (tmp_path / "cache").exists()


def test_what_was_not_used_for_longest_goes(models: ModelStore, tmp_path: Path):
    stored = [
        models.put(name, weights_file(tmp_path / f"{name}.safetensors", number, 10_000), {})[0]
        for number, name in enumerate("abcd")
    ]
    cache = ModelCache(tmp_path / "cache", most_bytes=100_000, most_model_bytes=10**6)
    folders = [cache.weights(models, model).parent for model in stored[:3]]
    assert all(folder.is_dir() for folder in folders)  # used within the hour, all of them
    for folder, hours in zip(folders, (2, 4, 3), strict=True):
        then = time.time() - hours * 3600
        os.utime(folder / "manifest.json", (then, then))
    folders.append(cache.weights(models, stored[3]).parent)
    assert [folder.is_dir() for folder in folders] == [True, False, False, True]
    assert model_cache._IN_USE_SECONDS == 3600
