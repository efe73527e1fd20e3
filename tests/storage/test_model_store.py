import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from storage.errors import (
    AmbiguousModelError,
    DamagedFileError,
    DamagedModelError,
    ModelTooLargeError,
    UnknownModelError,
    WeightsRefusedError,
)
from storage.lake import Lake
from storage.model_store import ModelStore, model_id_of
from storage.objects import ObjectStore, open_store
from storage.schemas import TABLES
from tests.model_files import put_models, weights_file

NEW_COLUMNS = {"size_bytes", "source"}


@pytest.fixture
def models(root: str) -> ModelStore:
    return ModelStore(root)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return weights_file(tmp_path / "weights.safetensors")


def test_a_model_comes_back_as_it_was_put(models: ModelStore, weights: Path, tmp_path: Path):
    put, new = models.put(
        "Comic (7)", weights, {"image_size_px": 512}, source="file:x", parent_id="demo-1"
    )
    assert new
    assert put.model_id == f"comic-7-{put.sha256[:12]}"
    assert models.models() == [put]
    assert models.find(put.model_id) == put
    assert models.config(put) == {"image_size_px": 512}
    facts = models.files(put)["model.safetensors"]
    models.copy_file(put, "model.safetensors", facts, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == weights.read_bytes()
    manifest = json.loads(models.objects.read(f"{put.prefix}manifest.json"))
    assert (manifest["model_id"], manifest["parent_id"]) == (put.model_id, "demo-1")


def test_a_configuration_that_could_not_be_read_again_is_not_stored(
    models: ModelStore, weights: Path
):
    frame = len('{\n  "a": ""\n}\n')
    with pytest.raises(ValueError, match="1,048,577 bytes, but at most 1,048,576"):
        models.put("m", weights, {"a": "x" * (2**20 - frame + 1)})
    assert models.models() == []
    assert list(models.objects.list("models/")) == []
    config = {"a": "x" * (2**20 - frame)}
    put, _ = models.put("m", weights, config)
    assert models.config(put) == config
    assert models.put("m", weights, config) == (put, False)


def test_the_same_weights_are_one_model_under_their_first_name(models: ModelStore, weights: Path):
    first, _ = models.put("first", weights, {"a": 1})
    second, new = models.put("second", weights, {"b": 2})
    assert (second, new) == (first, False)
    assert models.models() == [first]
    assert models.config(first) == {"a": 1}
    assert {info.key.split("/")[1] for info in models.objects.list("models/")} == {first.model_id}


def test_of_many_who_register_the_same_weights_at_once_one_does(root: str, weights: Path):
    ModelStore(root).put("warm", weights_file(weights.with_name("warm.safetensors"), 9), {})
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda n: ModelStore(root).put(f"name-{n}", weights, {"n": n}), range(4))
        )
    assert [new for _, new in done].count(True) == 1
    assert len({model.model_id for model, _ in done}) == 1
    models = ModelStore(root)
    assert len(models.models()) == 2
    models.check(done[0][0])


def test_what_is_no_safetensors_is_refused_and_nothing_is_stored(
    models: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pickled = tmp_path / "evil.safetensors"
    pickled.write_bytes(b"\x80\x04cos\nsystem\n")
    for path in (pickled, tmp_path / "absent.safetensors"):
        with pytest.raises(WeightsRefusedError, match=path.name):
            models.put("x", path, {})
    monkeypatch.setenv("SEGMILL_MAX_MODEL_BYTES", "10")
    with pytest.raises(ModelTooLargeError, match="SEGMILL_MAX_MODEL_BYTES"):
        models.put("x", weights_file(tmp_path / "large.safetensors"), {})
    assert models.models() == []
    assert list(models.objects.list("models/")) == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_lost_file_is_named_and_put_back_by_registering_again(
    models: ModelStore, weights: Path, name: str
):
    model, _ = models.put("m", weights, {})
    models.objects.delete(f"{model.prefix}{name}")
    with pytest.raises(DamagedModelError, match=rf"{name}.*missing"):
        models.check_presence(model)
    with pytest.raises(DamagedModelError, match=name):
        models.check(model)
    models.put("m", weights, {})
    models.check(model)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("model.safetensors", lambda data: data[:-1]),
        ("model.safetensors", lambda data: data + b"x"),
        ("config.json", lambda data: data + b" "),
        ("manifest.json", lambda data: data.replace(b'"sha256": "', b'"sha256": "0', 1)),
        ("manifest.json", lambda data: b"[]"),
        ("manifest.json", lambda data: data.replace(b"config.json", b"../../escape")),
    ],
)
def test_a_harmed_file_is_refused_and_named(
    models: ModelStore, weights: Path, tmp_path: Path, name, change
):
    model, _ = models.put("m", weights, {})
    key = f"{model.prefix}{name}"
    models.objects.write(key, change(models.objects.read(key)))
    with pytest.raises(DamagedModelError, match=name):
        models.check(model)
    # It is not written over either.
    with pytest.raises(DamagedModelError, match=name):
        models.put("m", weights, {})


def test_weights_that_do_not_fit_their_row_are_refused_whatever_the_manifest_says(
    models: ModelStore, tmp_path: Path
):
    first, second = put_models_of(models, tmp_path)
    for info in list(models.objects.list(second.prefix)):
        name = info.key.removeprefix(second.prefix)
        models.objects.write(f"{first.prefix}{name}", models.objects.read(info.key))
    with pytest.raises(DamagedModelError, match=r"manifest\.json.*registered weights"):
        models.check(first)


def put_models_of(models: ModelStore, folder: Path):
    return put_models(models.objects.root, folder, "ab")


def test_a_beginning_is_enough_if_it_is_one_models_only(tmp_path: Path):
    root = str(tmp_path / "root")
    comic, comics, other = (
        ModelStore(root).put(name, weights_file(tmp_path / f"{name}.safetensors", number), {})[0]
        for number, name in enumerate(("comic", "comics-2", "street"))
    )
    models = ModelStore(root)
    assert models.find("str") == other
    assert models.find(comics.model_id[:9]) == comics
    assert models.find(comic.model_id) == comic
    with pytest.raises(AmbiguousModelError, match=comics.model_id):
        models.find("comic")
    with pytest.raises(UnknownModelError, match=f"did you mean {other.model_id}"):
        models.find("stret")
    for text in ("", "x" * 200, "../up"):
        with pytest.raises(UnknownModelError, match="segmill models list"):
            models.find(text)


def test_no_model_without_a_row(root: str, weights: Path):
    models = ModelStore(root)
    model_id = model_id_of("m", "0" * 64)
    models.objects.create(f"models/{model_id}/manifest.json", b"{}")
    assert models.models() == []
    with pytest.raises(UnknownModelError, match="none is; segmill models register"):
        models.find(model_id)


@pytest.mark.parametrize(
    ("column", "value"), [("model_id", "../../up-0123456789ab"), ("prefix", "lake/segments/")]
)
def test_a_row_that_leads_elsewhere_is_refused(tmp_path: Path, weights: Path, column, value):
    models = ModelStore(str(tmp_path / "root"))
    model, _ = models.put("m", weights, {})
    row = {**vars(model), column: value}
    Lake.open(str(tmp_path / "root")).append("models", [row], "by hand")
    with pytest.raises(DamagedFileError, match="no model of the store"):
        models.models()


def test_a_table_without_the_newer_columns_can_be_read_and_written(tmp_path: Path):
    root = str(tmp_path / "root")
    (model,) = put_models(str(tmp_path / "new"), tmp_path, "a")
    old = pa.schema([field for field in TABLES["models"] if field.name not in NEW_COLUMNS])
    rows = pa.Table.from_pylist([{name: vars(model)[name] for name in old.names}], old)
    write_deltalake(f"{root}/lake/models", rows)
    found = ModelStore(root).find("a")
    assert (found.sha256, found.size_bytes, found.source) == (model.sha256, None, None)
    put_models(root, tmp_path, "b")
    assert set(DeltaTable(f"{root}/lake/models").to_pyarrow_table().column_names) >= NEW_COLUMNS
    assert [each.model_id[0] for each in ModelStore(root).models()] == ["a", "b"]


def test_objects_are_read_in_pieces_and_created_from_files(store: ObjectStore, tmp_path: Path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 10_000)
    assert store.create("models/m/large", path)
    assert not store.create("models/m/large", weights_file(tmp_path / "other"))
    pieces = list(store.read_chunks("models/m/large"))
    assert len(pieces) > 1
    assert b"".join(pieces) == path.read_bytes() == store.read("models/m/large")


def test_a_file_that_is_not_there_is_told_with_the_first_piece(root: str):
    from storage.errors import ObjectNotFoundError

    with pytest.raises(ObjectNotFoundError, match="absent"):
        next(iter(open_store(root).read_chunks("absent")))
