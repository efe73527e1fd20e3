"""Models of a bucket on this machine: fetched once, whole or not at all, and not too many."""

import hashlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from storage.errors import ModelTooLargeError
from storage.model_store import MANIFEST, WEIGHTS, FileFacts, ModelStore, StoredModel

_UNFINISHED = ".fetching-"
# A process may be about to open what it was told of.
_IN_USE_SECONDS = 3600


class ModelCache:
    """A folder of models. Several processes may use it at once."""

    def __init__(self, folder: Path, most_bytes: int, most_model_bytes: int) -> None:
        """Use a folder, which is made when it is needed.

        Args:
            folder: The folder.
            most_bytes: How large it may become. Models that were used within the hour stay.
            most_model_bytes: Larger models are refused.
        """
        self._folder = folder.expanduser().absolute()
        self._most_bytes = most_bytes
        self._most_model_bytes = most_model_bytes

    def weights(self, store: ModelStore, model: StoredModel) -> Path:
        """Return the weights file of a model on this machine, as they were registered.

        Of a root in a folder it is the file there; of a bucket it is fetched, if it is not here
        unharmed.

        Args:
            store: The models of the root.
            model: One of them.

        Returns:
            A file with the manifest beside it, in a folder that is called after the model.

        Raises:
            DamagedModelError: If a file of the model is missing, or not as it was stored.
            ModelTooLargeError: If it is larger than this machine takes.
            OSError: If it cannot be written here.
        """
        files = store.files(model)
        size_bytes = sum(facts.size_bytes for facts in files.values())
        if size_bytes > self._most_model_bytes:
            raise ModelTooLargeError(model.model_id, size_bytes, self._most_model_bytes)
        in_place = store.objects.local_path(f"{model.prefix}{WEIGHTS}")
        if in_place is not None:
            store.check(model)
            return in_place
        folder = self._folder / model.model_id
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._lock(model.model_id):
            if not _holds(folder, files):
                self._fetch(store, model, files, folder)
            (folder / MANIFEST).touch()  # used now
        self._shrink(but=folder)
        return folder / WEIGHTS

    def _lock(self, model_id: str) -> FileLock:
        return FileLock(self._folder / f".{model_id}.lock")

    def _fetch(
        self,
        store: ModelStore,
        model: StoredModel,
        files: Mapping[str, FileFacts],
        folder: Path,
    ) -> None:
        unfinished = folder.with_name(f"{_UNFINISHED}{model.model_id}")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that died
        unfinished.mkdir()
        try:
            for name, facts in files.items():
                store.copy_file(model, name, facts, unfinished / name)
            manifest = store.objects.read(f"{model.prefix}{MANIFEST}")
            (unfinished / MANIFEST).write_bytes(manifest)
            shutil.rmtree(folder, ignore_errors=True)  # harmed, if it is there
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _shrink(self, but: Path) -> None:
        """Remove what was not used for longest, until the rest is small enough."""
        kept = [path for path in self._folder.iterdir() if (path / MANIFEST).is_file()]
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in kept}
        used_at = {path: (path / MANIFEST).stat().st_mtime for path in kept}
        surplus = sum(sizes.values()) - self._most_bytes
        for path in sorted(kept, key=used_at.__getitem__):
            if surplus <= 0:
                break
            if path == but or time.time() - used_at[path] < _IN_USE_SECONDS:
                continue
            try:
                with self._lock(path.name).acquire(timeout=0):
                    shutil.rmtree(path)
            except (Timeout, FileNotFoundError):
                continue  # another process uses it, or removed it
            surplus -= sizes[path]


def _holds(folder: Path, files: Mapping[str, FileFacts]) -> bool:
    """Whether a folder holds a whole model, unharmed."""
    if not (folder / MANIFEST).is_file():
        return False
    for name, facts in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts.size_bytes:
            return False
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != facts.sha256:
                return False
    return True
