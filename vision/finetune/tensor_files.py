"""Folders of tensors that are whole or not there: written aside, then renamed, with hashes.

A folder is written under another name, each file flushed to the disk, the manifest with their
SHA-256 last; then it gets its name, which is one step for the file system. So a process that is
killed at any time leaves the folders before it intact. Files are safetensors and JSON only.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from vision.finetune.errors import NoSpaceError

MANIFEST = "manifest.json"
PARTIAL = ".partial"

Tensors = Mapping[str, torch.Tensor]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DamagedFolderError(ValueError):
    """A folder whose files are missing, cut or changed."""


def write_folder(folder: Path, tensors: Mapping[str, Tensors], facts: Mapping[str, Any]) -> None:
    """Write a folder of tensors; an older one of this name is replaced.

    Args:
        folder: Its name.
        tensors: Of each safetensors file, named without its ending.
        facts: What else is kept, as JSON, in the manifest.

    Raises:
        NoSpaceError: The disk is full; nothing but the old folder is left.
        OSError: It cannot be written to.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(folder.name + PARTIAL)
    needed = sum(t.numel() * t.element_size() for group in tensors.values() for t in group.values())
    try:
        _remove(partial)
        free = shutil.disk_usage(folder.parent).free
        if free < needed:
            raise NoSpaceError(folder, needed, free)
        partial.mkdir()
        files = {}
        for name, group in tensors.items():
            data = save({key: value.detach().cpu().contiguous() for key, value in group.items()})
            _write(partial / f"{name}.safetensors", data)
            files[f"{name}.safetensors"] = {
                "sha256": hashlib.sha256(data).hexdigest(),
                "bytes": len(data),
            }
        text = json.dumps({"files": files, "facts": facts}, indent=1).encode()
        digest = hashlib.sha256(text).hexdigest()
        _write(partial / MANIFEST, text + f"\n{digest}\n".encode())
        sync_folder(partial)
        _remove(folder)
        partial.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)
        if error.errno in _FULL:
            free = shutil.disk_usage(folder.parent).free
            raise NoSpaceError(folder, needed, free) from error
        raise


def read_folder(folder: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Read what `write_folder` wrote: the tensors of each file, and the facts.

    Raises:
        DamagedFolderError: A file is missing, cut or changed.
    """
    manifest = _read_manifest(folder)
    tensors = {}
    for name, entry in manifest["files"].items():
        try:
            data = (folder / name).read_bytes()
        except FileNotFoundError:
            raise DamagedFolderError(f"{name} is missing") from None
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            found, wanted = len(data), entry["bytes"]
            how = "changed" if found == wanted else f"{found:,} of {wanted:,} bytes long"
            raise DamagedFolderError(f"{name} is {how}")
        tensors[name.removesuffix(".safetensors")] = load(data)
    return tensors, manifest["facts"]


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the facts alone; the tensors are not looked at.

    Raises:
        DamagedFolderError: The manifest is missing, cut or changed.
    """
    facts: dict[str, Any] = _read_manifest(folder)["facts"]
    return facts


def _read_manifest(folder: Path) -> Any:
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise DamagedFolderError(f"{MANIFEST} is missing") from None
    text, _, digest = data.strip().rpartition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise DamagedFolderError(f"{MANIFEST} is damaged")
    return json.loads(text)


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or as it was before.

    Raises:
        NoSpaceError: The disk is full.
        OSError: It cannot be written to.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        _write(partial, data)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in _FULL:
            free = shutil.disk_usage(path.parent).free
            raise NoSpaceError(path, len(data), free) from error
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(folder: Path) -> None:
    """Remove a folder under another name, so that half of one never bears its own."""
    if not folder.exists():
        return
    if not folder.name.endswith(PARTIAL):
        aside = folder.with_name(folder.name + ".old" + PARTIAL)
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        folder = aside
    shutil.rmtree(folder)
