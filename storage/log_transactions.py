"""The versions of many units' transactions in a table, from one reading of its log.

Delta tells one version at a time and reads all of the log's newer entries for each, which in a
bucket are a request each.
"""

import json
from collections.abc import Collection

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from storage.errors import ObjectNotFoundError
from storage.objects import ObjectStore
from storage.objects.ahead import ahead

_FEW = 2


def transaction_versions(
    objects: ObjectStore, table: str, stored: DeltaTable, unit_ids: Collection[str]
) -> dict[str, int]:
    """Versions of units' transactions, as `DeltaTable.transaction_version` tells them.

    Args:
        objects: The store of the tables' files.
        table: Name of the table.
        stored: The opened table; what was committed after it was opened is left out.
        unit_ids: The units; those without a version are left out of the answer.
    """
    known = _of_log(objects, table, stored.version()) if len(unit_ids) > _FEW else None
    if known is None:
        asked = {unit_id: stored.transaction_version(unit_id) for unit_id in unit_ids}
        return {unit_id: version for unit_id, version in asked.items() if version is not None}
    return {unit_id: known[unit_id] for unit_id in unit_ids if unit_id in known}


def _of_log(objects: ObjectStore, table: str, version: int) -> dict[str, int] | None:
    """Every transaction up to a version; None where the log is not as this program writes it."""
    log = f"{table}/_delta_log"
    known: dict[str, int] = {}
    first = 0
    try:
        checkpoint = _newest_checkpoint(objects, log)
        if checkpoint is not None:
            # Of several parts, or newer than the opened table: that is for Delta to read.
            if set(checkpoint) & {"parts", "v2Checkpoint"} or checkpoint["version"] > version:
                return None
            first = checkpoint["version"] + 1
            data = objects.read(f"{log}/{checkpoint['version']:020}.checkpoint.parquet")
            known = _of_checkpoint(data)
        names = [f"{log}/{number:020}.json" for number in range(first, version + 1)]
        for _, entry in ahead(names, objects.read):
            known |= _of_entry(entry.result())
    except (ObjectNotFoundError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None
    return known


def _newest_checkpoint(objects: ObjectStore, log: str) -> dict[str, int] | None:
    try:
        found: dict[str, int] = json.loads(objects.read(f"{log}/_last_checkpoint"))
    except ObjectNotFoundError:
        return None
    return found


def _of_checkpoint(data: bytes) -> dict[str, int]:
    actions = pq.read_table(pa.BufferReader(data), columns=["txn"]).column("txn").drop_null()
    return {action["appId"]: action["version"] for action in actions.to_pylist()}


def _of_entry(data: bytes) -> dict[str, int]:
    # Most lines are about files, and long.
    actions = [json.loads(line) for line in data.splitlines() if b'"txn"' in line]
    return {
        action["txn"]["appId"]: action["txn"]["version"] for action in actions if "txn" in action
    }
