import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from app import cli
from app.failures import exit_code_of, message_of
from flows.requests import IngestRequest
from storage.errors import (
    AsOfError,
    ObjectNotFoundError,
    QueryParametersError,
    QueryResultTooLargeError,
    SchemaDriftError,
    UnknownColumnError,
    UnknownQueryError,
    UnsafeKeyError,
    UnsupportedRootError,
    VersionGoneError,
)
from storage.settings import Settings
from tasks.seal_drops import DropChangedError
from vision.sam2.weights import WeightsFileError, WeightsMismatchError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def segmill(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; answers exit code and stderr in one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGMILL_ROOT", str(tmp_path / "root"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["segmill", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, " ".join(capsys.readouterr().err.replace("│", " ").split())

    return run


def refused(model, **values):
    try:
        model(**values)
    except ValueError as error:
        return error
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize(
    "error",
    [
        WeightsFileError(Path("a.pt"), "holds no state dict"),
        WeightsMismatchError(Path("a.pt"), ["x"], []),
        UnsupportedRootError("gs://bucket"),
        UnsafeKeyError("../a", "it is above"),
        AsOfError("no time"),
        QueryParametersError(["a"], [], ["a"]),
        UnknownColumnError("segments", "mood"),
        UnknownQueryError("x", ["y"]),
        VersionGoneError("segments", "version 1", "gone"),
        refused(IngestRequest, dataset="../up"),
        *(
            kind("wrong SQL")
            for kind in (
                duckdb.ParserException,
                duckdb.BinderException,
                duckdb.CatalogException,
                duckdb.ConversionException,
                duckdb.InvalidInputException,
                duckdb.OutOfRangeException,
                duckdb.PermissionException,
            )
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_person_asked_wrongly_is_wrong_use(error):
    assert exit_code_of(error) == 2


@pytest.mark.parametrize(
    "error",
    [
        DropChangedError("a.png"),
        ObjectNotFoundError("a"),
        QueryResultTooLargeError(1),
        SchemaDriftError("segments", "area_px", "string", "int64"),
        ClientError({"Error": {"Code": "NoSuchBucket", "Message": "gone"}}, "ListObjectsV2"),
        NoCredentialsError(),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ParamValidationError(report="Invalid bucket name"),
        DeltaError("damaged log"),
        TableNotFoundError("no log"),
        CommitFailedError("lost"),
        OSError(28, "No space left on device"),
        *(
            kind("no fault of the SQL")
            for kind in (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.InternalException)
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_went_wrong_around_the_program_is_a_failure(error):
    assert exit_code_of(error) == 1


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), TypeError("x"), RuntimeError()])
def test_faults_of_the_program_keep_their_traceback(error):
    assert exit_code_of(error) is None


def test_to_judge_an_error_imports_neither_boto_nor_torch():
    code = (
        "import sys; from app.failures import exit_code_of; assert exit_code_of(OSError()) == 1; "
        "sys.exit(', '.join({'torch', 'botocore', 'boto3'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_refused_values_are_told_in_a_line_each(monkeypatch):
    error = refused(IngestRequest, dataset="../up", colour="red" * 99)
    assert message_of(error).splitlines() == [
        "these values do not fit:",
        "  dataset: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$', found '../up'",
        f"  colour: Extra inputs are not permitted, found '{'red' * 26}…",
    ]
    monkeypatch.setenv("SEGMILL_BATCH_IMAGES", "many")
    assert (
        message_of(refused(Settings))
        .splitlines()[1]
        .startswith("  SEGMILL_BATCH_IMAGES: expected a valid integer")
    )
    assert message_of(refused(Settings)).endswith(", found 'many'")


def test_a_refused_value_is_told_without_an_address_of_documentation(segmill):
    code, err = segmill("ingest", "--dataset", "../up")
    assert code == 2
    assert "wrong use: these values do not fit: dataset: " in err
    assert "found '../up'" in err
    assert "://" not in err


@pytest.mark.parametrize("verb", ["ingest", "nightly", "check"])
def test_a_path_that_leads_to_nothing_is_called_that(segmill, tmp_path, verb):
    code, err = segmill(verb, "missing-folder")
    assert code == 2
    assert "no such file or folder: missing-folder" in err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("verb", ["ingest", "check"])
def test_a_drop_on_a_store_of_another_kind_is_told_in_a_sentence(segmill, verb):
    code, err = segmill(verb, "gs://bucket/drop")
    assert code == 2
    assert "Expected a local folder or s3://bucket/prefix" in err


@pytest.mark.parametrize(
    ("arguments", "place", "advice"),
    [
        (["ingest"], "flows.ingest.run_ingest", True),
        (["nightly"], "flows.nightly.run_nightly", True),
        (["export", "crops", "-o", "out"], "tasks.export_crops.export_crops", True),
        (["check", "."], "tasks.seal_drops.read_drop", False),
        (["sql", "SELECT 1"], "storage.session.read_only_query", False),
    ],
)
def test_ctrl_c_says_how_to_go_on_where_a_verb_can(segmill, monkeypatch, arguments, place, advice):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    code, err = segmill(*arguments)
    assert code == 130
    assert err == "interrupted" + ("; run the same command again to go on" if advice else "")
