"""What an S3 store refused, and what to do: the errors of boto3 in words."""

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


def _refused(error: ClientError, bucket: str) -> tuple[str, str]:
    details = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    code, status = str(details.get("Code", "")), int(metadata.get("HTTPStatusCode", 0))
    region = details.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if code in _EXPIRED:
        return f"the credentials have expired ({code})", "get new ones, such as with aws sso login"
    if code in _UNKNOWN_KEY:
        return (
            f"the store does not accept the credentials ({code})",
            "compare AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with those of the account",
        )
    if code == "RequestTimeTooSkewed":
        return "the clock of this machine is wrong", "set it, such as with timedatectl set-ntp true"
    if code in _ELSEWHERE or status in _ELSEWHERE_STATUS or (status == 400 and region):
        where = f" in {region}" if region else " in another region"
        return (
            f"the bucket {bucket} is{where} ({code})",
            f"set AWS_REGION and AWS_DEFAULT_REGION to {region or 'its region'}",
        )
    if code in ("NoSuchBucket",) or (status == 404 and error.operation_name == "HeadBucket"):
        return (
            f"there is no bucket {bucket}",
            "make it, or correct SEGMILL_ROOT; on another server than Amazon's see "
            "SEGMILL_S3_ENDPOINT_URL as well",
        )
    if status == 403:
        right = _RIGHTS.get(error.operation_name, error.operation_name)
        return (
            f"{error.operation_name} is denied",
            f"allow the credentials {right} on {bucket} and its objects",
        )
    return f"{error.operation_name}: {code} {details.get('Message', '')}".strip(), "see the code"
