"""Find the file of a drop that a name in a document means."""

from collections.abc import Iterable
from pathlib import PurePosixPath


class FileNames:
    """Finds the file of the drop that a COCO `file_name` means."""

    def __init__(self, keys: Iterable[str], prefix: str) -> None:
        self._paths: dict[str, str] = {}
        self._endings: dict[str, str | None] = {}
        for key in keys:
            parts = PurePosixPath(key[len(prefix) :]).parts
            self._paths["/".join(parts)] = key
            for start in range(1, len(parts)):
                ending = "/".join(parts[start:])
                # An ending that fits two files names neither.
                self._endings[ending] = None if ending in self._endings else key

    def find(self, file_name: str) -> str | None:
        """The key of the file with this path, or the only one whose path ends with it."""
        return self._paths.get(file_name) or self._endings.get(file_name)

    def names(self) -> dict[str, str]:
        """Every name that means exactly one file, with that file's key."""
        endings = {name: key for name, key in self._endings.items() if key is not None}
        return endings | self._paths
