"""What an S3 store refused, and what to do: the errors of boto3 and of Delta's writer in words."""

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
    TokenRetrievalError,
)

_RIGHTS = {
    "PutObject": "s3:PutObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "DeleteObject": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
}
_EXPIRED = {"ExpiredToken", "TokenRefreshRequired", "RequestExpired", "ExpiredTokenException"}
_UNKNOWN_KEY = {"InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "InvalidSecurity"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"}
_ELSEWHERE_STATUS = {301, 307}
_CLOCK = {"RequestTimeTooSkewed"}
# Of these 403 says nothing about the object that was asked for.
OF_THE_WHOLE_STORE = _EXPIRED | _UNKNOWN_KEY | _CLOCK

# What Delta's writer says begins so; colours and arrows are between its lines.
_OF_DELTA = re.compile(r"Generic S3 error|error performing (?:GET|PUT|HEAD|DELETE)", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m|↳")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status(?: code)?:? (\d{3})")


def explain(error: Exception, bucket: str) -> tuple[str, str]:
    """What is wrong, and what to do.

    Args:
        error: What boto3 raised.
        bucket: Name of the bucket.
    """
    if isinstance(error, ClientError):
        return _refused(error, bucket)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return (
            f"no credentials: {error}",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a "
            "role",
        )
    if isinstance(error, TokenRetrievalError):
        return f"the sign-in has ended: {error}", "sign in again, such as with aws sso login"
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | ReadTimeoutError):
        return (
            str(error),
            "see whether the server is up, and SEGMILL_S3_ENDPOINT_URL or AWS_ENDPOINT_URL right",
        )
    if isinstance(error, SSLError):
        return str(error), "the certificate is not trusted here: set AWS_CA_BUNDLE, or use http://"
    if isinstance(error, BotoCoreError):
        return str(error), "correct what it names"
    return f"{type(error).__name__}: {error}", "correct what it names"


def explain_delta(error: Exception, bucket: str) -> tuple[str, str] | None:
    """What is wrong and what to do, where Delta's writer was refused by S3; None for other errors.

    Args:
        error: What deltalake raised.
        bucket: Name of the bucket.
    """
    text = " ".join(_COLOUR.sub(" ", str(error)).split())
    if not _OF_DELTA.search(text):
        return None
    code = found[1] if (found := _CODE.search(text)) else ""
    status = int(found[1]) if (found := _STATUS.search(text)) else 0
    if code != "NoSuchBucket" and (status == 404 or "not found" in text.lower()):
        return None  # an object that is not there, which is often an answer
    if "redirect" in text.lower():
        status = 301
    if "connect" in text.lower() and not status:
        told = f"no answer from the store: {text[:300]}"
        return told, "see whether it is up, and SEGMILL_S3_ENDPOINT_URL or AWS_ENDPOINT_URL right"
    if known := _known(code, status, None, bucket):
        return known
    if status == 403:
        rights = "s3:ListBucket, s3:GetObject and s3:PutObject"
        return "access to the tables is denied", f"allow the credentials {rights} on {bucket}"
    return text[:400], "run the same command again, or see what segmill doctor says"


def _refused(error: ClientError, bucket: str) -> tuple[str, str]:
    details = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    code, status = str(details.get("Code", "")), int(metadata.get("HTTPStatusCode", 0))
    region = details.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if status == 404 and error.operation_name == "HeadBucket":
        code = "NoSuchBucket"
    if known := _known(code, status, region, bucket):
        return known
    if status == 403:
        right = _RIGHTS.get(error.operation_name, error.operation_name)
        return (
            f"{error.operation_name} is denied",
            f"allow the credentials {right} on {bucket} and its objects",
        )
    told = f"{error.operation_name}: {code} {details.get('Message', '')}".strip()
    return told, "run the same command again, or see what segmill doctor says"


def _known(code: str, status: int, region: str | None, bucket: str) -> tuple[str, str] | None:
    """What is wrong by a code of S3 and the status of the answer; None if that does not say it."""
    if code in _EXPIRED:
        return f"the credentials have expired ({code})", "get new ones, such as with aws sso login"
    if code in _UNKNOWN_KEY:
        return (
            f"the store does not accept the credentials ({code})",
            "compare AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with those of the account",
        )
    if code in _CLOCK:
        return "the clock of this machine is wrong", "set it, such as with timedatectl set-ntp true"
    if code in _ELSEWHERE or status in _ELSEWHERE_STATUS or (status == 400 and region):
        where = f" in {region}" if region else " in another region"
        return (
            f"the bucket {bucket} is{where} ({code})",
            f"set AWS_REGION and AWS_DEFAULT_REGION to {region or 'its region'}",
        )
    if code == "NoSuchBucket":
        return (
            f"there is no bucket {bucket}",
            "make it, or correct SEGMILL_ROOT; on another server than Amazon's see "
            "SEGMILL_S3_ENDPOINT_URL as well",
        )
    if status >= 500 or code == "SlowDown":
        return (
            f"the store is overloaded or broken ({code or status}), also when it was asked again",
            "run the same command again later",
        )
    return None
