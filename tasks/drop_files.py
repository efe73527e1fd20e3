"""What is wrong with a drop's files as such, whatever is in them: archives, links, strangers."""

from pathlib import PurePosixPath

from tasks.drop_images import is_image
from tasks.seal_drops import ARCHIVE, UNREADABLE, UNSAFE, SealedDrop
from vision.coco import Finding, make_finding

_KNOWN_SUFFIXES = (".json",)


def refused_files(drop: SealedDrop) -> list[Finding]:
    """The files for which the whole drop is refused.

    Archives are never unpacked: a name or a size inside one could do harm anywhere. A link that
    leads out of the drop could show any file of the machine.
    """
    rules = {ARCHIVE: "drop.archive", UNSAFE: "drop.unsafe_name", UNREADABLE: "drop.unreadable"}
    return [
        make_finding(drop.relative(file.key), "", rules[file.refused], file.reason or file.refused)
        for file in drop.files
        # An image that cannot be read costs only itself.
        if file.refused and not (file.refused == UNREADABLE and is_image(file.key))
    ]


def unused_files(drop: SealedDrop, used: set[str]) -> list[Finding]:
    """A note for the files that are none of `used` and no JSON file; one note counts them all."""
    unused = [
        drop.relative(file.key)
        for file in drop.files
        if file.key not in used and PurePosixPath(file.key).suffix.lower() not in _KNOWN_SUFFIXES
    ]
    if not unused:
        return []
    value = unused[0] if len(unused) == 1 else f"{unused[0]} (and {len(unused) - 1} more)"
    return [make_finding(unused[0], "", "drop.file_unused", value)]
