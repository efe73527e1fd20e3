"""Which errors a person can act on, what to tell, and the exit code that says so."""

import sys
from typing import TYPE_CHECKING

from app.options import FINDINGS, WRONG_USE
from storage.addresses import without_secrets

if TYPE_CHECKING:
    from pydantic import ValidationError

_LONGEST_VALUE = 80
# What broke a rule of ours may be a secret, or an address with one.
_UNSHOWN = ("value_error",)


def exit_code_of(error: Exception) -> int | None:
    """The exit code of an expected error; None for one that is a fault of the program.

    Args:
        error: What a command raised.
    """
    if isinstance(error, _wrong_use()):
        return WRONG_USE
    if isinstance(error, _failed()):
        return FINDINGS
    return None


def message_of(error: Exception) -> str:
    """What to tell a person of an error: its text, or a line for each value that is refused.

    Args:
        error: What a command raised.
    """
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "\n  ".join(["these values do not fit:", *refused_values(error)])
    # Others' messages, of the store or the network, name the address they asked.
    return without_secrets(str(error))


def _wrong_use() -> tuple[type[Exception], ...]:
    # Imported here because an error is rare and these packages are slow to import.
    import duckdb
    from pydantic import ValidationError

    from storage import errors
    from tasks.calibrate_labels import NothingToCalibrateError
    from tasks.curation_rules import CurationRulesError
    from tasks.exports.folder import OutputFolderError
    from tasks.exports.selection import NothingToExportError
    from tasks.gate_rules import GateFileError
    from tasks.models import UnknownPresetError
    from tasks.pull_model import PullError
    from tasks.seal_drops import EmptyDropError
    from vision.clip import LabelSetError
    from vision.models import ModelReferenceError

    return (
        # The SQL: its text, its values, or what it reaches for. `sql` is where people write any.
        duckdb.ProgrammingError,
        duckdb.DataError,
        duckdb.NotSupportedError,
        duckdb.PermissionException,
        ValidationError,
        CurationRulesError,
        EmptyDropError,
        GateFileError,
        LabelSetError,
        ModelReferenceError,
        NothingToCalibrateError,
        PullError,
        NothingToExportError,
        OutputFolderError,
        errors.AsOfError,
        errors.LakePathError,
        errors.QueryParametersError,
        errors.QueryRefusedError,
        errors.SecretInAddressError,
        errors.UnknownColumnError,
        errors.UnknownQueryError,
        errors.UnknownProvenanceError,
        errors.UnknownTableError,
        errors.UnknownVersionError,
        errors.AmbiguousModelError,
        errors.UnknownModelError,
        errors.WeightsRefusedError,
        errors.VersionGoneError,
        errors.UnsafeKeyError,
        errors.UnsupportedRootError,
        UnknownPresetError,
        *_loaded("tasks.export_model", "TransformersMissingError"),
        *_loaded("deployments.errors", "ServerNotNamedError", "PoolTypeError"),
        *_loaded("deployments.errors", "NotificationBlockError"),
        *_loaded("flows.engines", "EngineMissingError"),
        *_loaded("tasks.training_data", "NoTrainingDataError"),
        *_loaded(
            "vision.finetune.errors",
            "ConfigError",
            "TrainingDataError",
            "MissingExtraError",
            "OtherRunError",
        ),
        *_loaded("vision.sam2.architecture", "WeightsFileError"),
        *_loaded("tasks.choose_segments", "NoSuchSegmentError"),
        *_loaded("tasks.decision_files", "DecisionFileError"),
        *_loaded("tasks.review_decisions", "ReviewsRefusedError"),
        *_loaded("tasks.frozen_set", "NoFrozenSetError"),
        *_loaded("tasks.sample_sheet", "TooManyTilesError"),
        *_loaded("vision.images", "ImageError"),
        *_loaded("vision.masks.png", "MaskPngError"),
        *_loaded("vision.object_prompts", "PromptError"),
    )


def _failed() -> tuple[type[Exception], ...]:
    import duckdb

    from storage.errors import StorageError
    from tasks.convert_masks import ConversionDiedError
    from tasks.exports.coco import PolygonLossError
    from tasks.quarantine import QuarantineLimitError
    from tasks.seal_drops import DropChangedError

    return (
        ConversionDiedError,
        DropChangedError,
        PolygonLossError,
        QuarantineLimitError,
        StorageError,
        duckdb.Error,
        OSError,
        *_loaded("deployments.errors", "ServerUnreachableError"),
        *_loaded("vision.finetune.errors", "FinetuneError"),
        *_loaded("tasks.evaluate_model", "NothingMeasuredError"),
        *_loaded("tasks.model_facts", "NotMeasuredAlikeError"),
        *_loaded("tasks.models", "ModelChangedError"),
        *_loaded("flows.summaries", "DropsFailedError", "QueueProblemError", "TablesDamagedError"),
        *_loaded("deltalake.exceptions", "DeltaError"),
        # Credentials, endpoints, time limits and names of buckets are all BotoCoreErrors.
        *_loaded("botocore.exceptions", "ClientError", "BotoCoreError"),
    )


def _loaded(module: str, *names: str) -> tuple[type[Exception], ...]:
    """Classes of a module; none where it was not imported, for then it raised nothing either."""
    found = sys.modules.get(module)
    return tuple(getattr(found, name) for name in names if hasattr(found, name))


def refused_values(error: "ValidationError") -> list[str]:
    """A line for each value that does not fit: the setting or field, what was expected, and found.

    Args:
        error: What pydantic raised.
    """
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        field = ".".join(map(str, item["loc"])) or error.title
        if error.title == "Settings":
            field = f"SEGMILL_{field}".upper()
        expected = item["msg"].replace("Input should be", "expected", 1)
        if item["type"] == "missing":
            lines.append(f"{field}: expected a value, found none")
        elif item["type"] in _UNSHOWN:
            lines.append(f"{field}: {expected.removeprefix('Value error, ')}")
        else:
            lines.append(f"{field}: {expected}, found {_shortened(repr(item['input']))}")
    return lines


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
