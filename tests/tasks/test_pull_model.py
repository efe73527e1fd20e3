"""Fetching models from a server that answers as the Hugging Face hub does."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.pull_model import PullError, pull_model
from vision.models import resolve_model
from vision.sam2.config import demo_model, load_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TINY = "facebook/sam2.1-hiera-tiny"


class Hub(BaseHTTPRequestHandler):
    """Serves files of repositories, with ranges, and what the hub's API says of them."""

    files: ClassVar[dict[str, dict[str, bytes]]] = {}
    asked: ClassVar[list[tuple[str, str | None]]] = []
    cut_at: ClassVar[int | None] = None

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        Hub.asked.append((self.path, self.headers.get("Range")))
        if self.path.startswith("/api/models/"):
            name = self.path.removeprefix("/api/models/").split("/revision/")[0].split("?")[0]
            if name not in Hub.files:
                return self.send_error(404)
            said = {
                "id": name,
                "modelId": name,
                "sha": COMMIT,
                "siblings": [{"rfilename": file} for file in Hub.files[name]],
                "cardData": {"license": "apache-2.0"},
            }
            return self.send(json.dumps(said).encode(), with_body)
        name, _, file = self.path.lstrip("/").partition("/resolve/")
        data = Hub.files.get(name, {}).get(file.partition("/")[2].partition("?")[0])
        if data is None:
            return self.send_error(404)
        return self.send(data, with_body)

    def send(self, data, with_body):
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if asked and first >= len(data):
            return self.send_error(416)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if with_body:
            last = len(data) if Hub.cut_at is None else Hub.cut_at
            self.wfile.write(data[first:last])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    Hub.files, Hub.asked, Hub.cut_at = {}, [], None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Weights as sam2 publishes them: a pickle."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": demo_model().state_dict()}, path)
    return path


def pull_in_process(endpoint, folder, *arguments):
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [Path(sys.executable).with_name("segmill"), "models", "pull", *arguments]
    command += ["--into", str(folder / "models")]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_released_model_comes_from_the_hub_as_safetensors_with_its_licence(
    hub, checkpoint, tmp_path
):
    Hub.files = {TINY: {"sam2.1_hiera_tiny.pt": checkpoint.read_bytes(), "model.safetensors": b"-"}}

    done = pull_in_process(hub, tmp_path, f"hub:{TINY}@main", "--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    folder = Path(found["folder"])
    assert folder.name.startswith("sam2.1-hiera-tiny-")
    assert (found["licence"], found["was_there"]) == ("apache-2.0", False)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["source"], manifest["revision"]) == (f"hub:{TINY}", COMMIT)
    assert manifest["files"]["model.safetensors"]["sha256"] == found["sha256"]
    expected = torch.load(checkpoint, weights_only=True)["model"]
    stored = load_file(folder / "model.safetensors")
    assert expected.keys() == stored.keys()
    assert all(torch.equal(expected[name], stored[name]) for name in expected)
    source = resolve_model(found["reference"])
    assert source.model_id.startswith("sam2.1-hiera-tiny-")
    load_model(source.path)

    again = pull_in_process(hub, tmp_path, f"hub:{TINY}@main", "--json")
    assert json.loads(again.stdout) == found | {"was_there": True}


def test_a_clip_comes_with_what_lies_beside_it(hub, tmp_path):
    weights = tmp_path / "open_clip_pytorch_model.bin"
    torch.save({"logit_scale": torch.tensor(1.0)}, weights)
    beside = {"open_clip_config.json": b"{}", "tokenizer.json": b"{}", "vocab.json": b"{}"}
    other = {"README.md": b"#", "model.safetensors": b"-", "flax_model.msgpack": b"-"}
    Hub.files = {"org/clip": {weights.name: weights.read_bytes()} | beside | other}

    done = pull_in_process(hub, tmp_path, "hub:org/clip", "--json")

    assert done.returncode == 0, done.stderr
    names = {path.name for path in Path(json.loads(done.stdout)["folder"]).iterdir()}
    assert names == {"open_clip_model.safetensors", "manifest.json", *beside}
    assert json.loads(done.stdout)["option"] == "--clip-model"

    # Brought by hand, it is the same model.
    for name, data in beside.items():
        (tmp_path / name).write_bytes(data)
    brought = pull_model(f"file:{weights}", tmp_path / "other")
    assert {path.name for path in Path(brought.folder).iterdir()} == names
    assert brought.sha256 == json.loads(done.stdout)["sha256"]


def test_the_same_weights_with_another_tokenizer_are_another_model(tmp_path):
    folders = []
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        torch.save({"x": torch.zeros(1)}, place / "open_clip_pytorch_model.bin")
        (place / "open_clip_config.json").write_text("{}")
        (place / "tokenizer.json").write_text(str(number))
        reference = f"file:{place / 'open_clip_pytorch_model.bin'}"
        folders.append(pull_model(reference, tmp_path / "models").folder)
    assert len(set(folders)) == 2


def test_what_a_safetensors_file_says_of_itself_is_kept(tmp_path):
    weights = tmp_path / "small.safetensors"
    save_file(demo_model().state_dict(), weights, {"image_size": "256"})
    found = pull_model(f"file:{weights}", tmp_path / "models")
    assert load_model(Path(found.folder) / "model.safetensors").image_size == 256


def test_a_hub_out_of_reach_says_what_to_bring_where(tmp_path):
    done = pull_in_process("http://127.0.0.1:9", tmp_path, f"hub:{TINY}")
    assert done.returncode == 2
    assert "cannot be fetched" in done.stderr
    assert "download sam2.1_hiera_tiny.pt" in done.stderr
    assert "segmill models pull file:sam2.1_hiera_tiny.pt" in done.stderr


def test_a_repository_of_several_weights_is_refused(hub, tmp_path):
    Hub.files = {"org/two": {"a.pt": b"", "b.safetensors": b""}}
    done = pull_in_process(hub, tmp_path, "hub:org/two")
    assert done.returncode == 2
    assert "expected one weights file in it, but found a.pt, b.safetensors" in done.stderr


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_address_is_fetched_once_and_checked(hub, checkpoint, tmp_path):
    Hub.files = {"org/x": {"sam2.pt": checkpoint.read_bytes()}}
    address = f"{hub}/org/x/resolve/main/sam2.pt"
    steps = []

    found = pull_model(address, tmp_path, digest(checkpoint), lambda *step: steps.append(step))

    assert not found.was_there
    assert steps[-1][0] == "fetch"
    assert steps[-1][1] == steps[-1][2] > 5
    assert load_model(Path(found.folder) / "model.safetensors")
    asked = len(Hub.asked)
    assert pull_model(address, tmp_path, digest(checkpoint)).was_there
    assert len(Hub.asked) == asked
    assert not list(tmp_path.glob(".*.pt"))


def test_a_download_that_broke_off_goes_on_where_it_ended(hub, checkpoint, tmp_path):
    data = checkpoint.read_bytes()
    Hub.files = {"org/x": {"sam2.pt": data}}
    Hub.cut_at = 2_000_000
    address = f"{hub}/org/x/resolve/main/sam2.pt"
    with pytest.raises(PullError, match="Run the same command again to go on"):
        pull_model(address, tmp_path, digest(checkpoint))
    Hub.cut_at = None

    assert pull_model(address, tmp_path, digest(checkpoint)).sha256

    first = int(Hub.asked[-1][1].removeprefix("bytes=").rstrip("-"))
    assert 0 < first <= 2_000_000


def test_a_partial_file_longer_than_the_whole_is_begun_again(hub, checkpoint, tmp_path):
    Hub.files = {"org/x": {"sam2.pt": checkpoint.read_bytes()}}
    address, sha256 = f"{hub}/org/x/resolve/main/sam2.pt", digest(checkpoint)
    (tmp_path / f".{sha256}.pt").write_bytes(checkpoint.read_bytes() + b"more")
    with pytest.raises(PullError, match="Run the same command again"):
        pull_model(address, tmp_path, sha256)
    assert not pull_model(address, tmp_path, sha256).was_there


def test_two_that_fetch_the_same_at_once_both_get_it(hub, checkpoint, tmp_path):
    Hub.files = {"org/x": {"sam2.pt": checkpoint.read_bytes()}}
    address, sha256 = f"{hub}/org/x/resolve/main/sam2.pt", digest(checkpoint)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: pull_model(address, tmp_path, sha256), range(2)))
    assert found[0].folder == found[1].folder
    assert sorted(model.was_there for model in found) == [False, True]


def test_what_is_secret_in_an_address_is_not_kept(hub, checkpoint, tmp_path):
    Hub.files = {"org/x": {"sam2.pt": checkpoint.read_bytes()}}
    address = f"{hub}/org/x/resolve/main/sam2.pt?signature=hidden"
    found = pull_model(address, tmp_path, digest(checkpoint))
    assert "hidden" not in (Path(found.folder) / "manifest.json").read_text()


def test_other_bytes_than_expected_are_refused_and_not_kept(hub, tmp_path):
    Hub.files = {"org/x": {"sam2.pt": b"something else"}}
    with pytest.raises(PullError, match=f"but {'0' * 64} was expected"):
        pull_model(f"{hub}/org/x/resolve/main/sam2.pt", tmp_path, "0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == [".pulling.lock"]


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path):
    mark = tmp_path / "ran"
    evil = tmp_path / "evil.pt"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    evil.write_bytes(pickle.dumps({"model": Harmful()}))
    with pytest.raises(PullError, match=r"evil\.pt: holds more than tensors"):
        pull_model(f"file:{evil}", tmp_path / "models")
    assert not mark.exists()
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".pulling.lock"]


@pytest.mark.parametrize(
    ("reference", "sha256", "told"),
    [
        ("demo", None, "expected hub:org/name"),
        ("file:nowhere.pt", None, "of a file that is there"),
        ("https://example.org/x.pt", None, "with --sha256"),
        ("https://example.org/x.pt", "ABC", "64 hex digits"),
        ("hub:../x", None, "cannot be fetched: Repo id must"),
        ("ftp://example.org/x.pt", None, "expected hub:org/name"),
        ("https://[bad/x.pt", "0" * 64, "is no address"),
        ("http://127.0.0.1:9/\x01.pt", "0" * 64, "cannot be fetched"),
    ],
)
def test_what_names_no_model_is_refused(tmp_path, reference, sha256, told):
    with pytest.raises(PullError, match=told):
        pull_model(reference, tmp_path, sha256)
