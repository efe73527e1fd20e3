"""Which errors a person can act on, and the exit code that says so."""

from app.options import FINDINGS, WRONG_USE


def exit_code_of(error: Exception) -> int | None:
    """The exit code of an expected error; None for one that is a fault of the program.

    Args:
        error: What a command raised.
    """
    # Imported here because an error is rare and these packages are slow to import.
    import duckdb
    from pydantic import ValidationError

    from storage import errors
    from tasks.convert_masks import ConversionDiedError
    from tasks.drops import EmptyDropError
    from tasks.exports.coco import PolygonLossError
    from tasks.exports.folder import OutputFolderError
    from tasks.exports.selection import NothingToExportError
    from tasks.models import UnknownPresetError
    from tasks.quarantine import QuarantineLimitError
    from vision.clip import LabelSetError
    from vision.models import ModelReferenceError

    wrong_use = (
        duckdb.Error,
        ValidationError,
        EmptyDropError,
        LabelSetError,
        ModelReferenceError,
        NothingToExportError,
        OutputFolderError,
        errors.LakePathError,
        errors.QueryRefusedError,
        errors.UnknownTableError,
        errors.UnknownVersionError,
        errors.UnsafeKeyError,
        UnknownPresetError,
    )
    if isinstance(error, wrong_use):
        return WRONG_USE
    failed = (
        ConversionDiedError,
        PolygonLossError,
        QuarantineLimitError,
        errors.StorageError,
        OSError,
    )
    if isinstance(error, failed):
        return FINDINGS
    return None
