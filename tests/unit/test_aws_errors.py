"""What each error of AWS means: the documented ones as a table."""

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from backdrop.aws_errors import Kind, in_short, is_throttled, kind, kind_of


@pytest.mark.parametrize(
    ("operation", "code", "status", "expected"),
    [
        # S3 will not give this object
        ("GetObject", "InvalidObjectState", 403, Kind.OBJECT),
        ("GetObject", "InvalidRequest", 400, Kind.OBJECT),
        ("GetObject", "KMS.DisabledException", 400, Kind.OBJECT),
        ("GetObject", "KMS.NotFoundException", 400, Kind.OBJECT),
        ("GetObject", "KMS.KMSInvalidStateException", 400, Kind.OBJECT),
        ("GetObject", "KMS.AccessDeniedException", 400, Kind.OBJECT),
        ("GetObject", "KMS.InvalidKeyUsageException", 400, Kind.OBJECT),
        # people have to fix the stack
        ("GetObject", "AccessDenied", 403, Kind.STACK),
        ("HeadObject", "403", 403, Kind.STACK),
        ("HeadObject", "400", 400, Kind.STACK),
        ("GetObject", "NoSuchBucket", 404, Kind.STACK),
        ("GetObject", "PermanentRedirect", 301, Kind.STACK),
        ("GetObject", "ExpiredToken", 400, Kind.STACK),
        ("ListObjectVersions", "AccessDenied", 403, Kind.STACK),
        ("PutObject", "KMS.DisabledException", 400, Kind.STACK),
        ("PutObject", "InvalidRequest", 400, Kind.STACK),
        ("UpdateItem", "AccessDeniedException", 400, Kind.STACK),
        ("UpdateItem", "ResourceNotFoundException", 400, Kind.STACK),
        ("PutItem", "ValidationException", 400, Kind.STACK),
        ("GetParameter", "ParameterNotFound", 400, Kind.STACK),
        ("GetParameter", "InvalidKeyId", 400, Kind.STACK),
        ("SendMessage", "AWS.SimpleQueueService.NonExistentQueue", 400, Kind.STACK),
        ("SendMessage", "KMS.DisabledException", 400, Kind.STACK),
        ("ChangeMessageVisibility", "ReceiptHandleIsInvalid", 400, Kind.STACK),
        ("PutEvents", "AccessDeniedException", 400, Kind.STACK),
        ("GetObject", "NobodyHasHeardOfThis", 400, Kind.STACK),
        ("GetItem", "", 0, Kind.STACK),
        # AWS asks for fewer requests
        ("UpdateItem", "ProvisionedThroughputExceededException", 400, Kind.THROTTLED),
        ("PutItem", "ThrottlingException", 400, Kind.THROTTLED),
        ("GetItem", "RequestLimitExceeded", 400, Kind.THROTTLED),
        ("BatchGetItem", "ProvisionedThroughputExceededException", 400, Kind.THROTTLED),
        ("GetObject", "SlowDown", 503, Kind.THROTTLED),
        ("HeadObject", "503", 503, Kind.THROTTLED),
        ("PutObject", "ServiceUnavailable", 503, Kind.THROTTLED),
        ("PutObject", "429", 429, Kind.THROTTLED),
        ("GetObject", "ThrottlingException", 400, Kind.THROTTLED),
        ("GetObject", "KMS.ThrottlingException", 400, Kind.THROTTLED),
        ("SendMessage", "RequestThrottled", 403, Kind.THROTTLED),
        ("SendMessage", "KMS.ThrottlingException", 400, Kind.THROTTLED),
        ("SendMessage", "KmsThrottled", 400, Kind.THROTTLED),
        ("GetParameter", "ThrottlingException", 400, Kind.THROTTLED),
        ("GetParameter", "TooManyUpdates", 400, Kind.THROTTLED),
        ("PutEvents", "ThrottlingException", 400, Kind.THROTTLED),
        # AWS failed
        ("GetObject", "InternalError", 500, Kind.PASSING),
        ("GetObject", "502", 502, Kind.PASSING),
        ("GetObject", "RequestTimeout", 400, Kind.PASSING),
        ("GetObject", "RequestTimeTooSkewed", 403, Kind.PASSING),
        ("GetObject", "KMS.DependencyTimeoutException", 400, Kind.PASSING),
        ("GetObject", "KMS.KMSInternalException", 400, Kind.PASSING),
        ("PutObject", "OperationAborted", 409, Kind.PASSING),
        ("UpdateItem", "InternalServerError", 500, Kind.PASSING),
        ("UpdateItem", "ServiceUnavailable", 503, Kind.PASSING),
        ("UpdateItem", "TransactionConflictException", 400, Kind.PASSING),
        ("GetParameter", "InternalServerError", 500, Kind.PASSING),
        ("PutEvents", "InternalException", 500, Kind.PASSING),
    ],
)
def test_every_documented_answer_has_one_meaning(operation: str, code: str, status: int, expected: Kind) -> None:
    assert kind(operation, code, status) is expected

    error = ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )
    assert kind_of(error) is expected
    assert is_throttled(error) == (expected is Kind.THROTTLED)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EndpointConnectionError(endpoint_url="https://x.test"), Kind.PASSING),
        (ConnectTimeoutError(endpoint_url="https://x.test"), Kind.PASSING),
        (ReadTimeoutError(endpoint_url="https://x.test"), Kind.PASSING),
        (NoCredentialsError(), Kind.STACK),
        (ClientError({}, "GetObject"), Kind.STACK),
    ],
)
def test_what_brought_no_answer_passes_and_what_could_not_be_asked_does_not(
    error: BotoCoreError | ClientError, expected: Kind
) -> None:
    assert kind_of(error) is expected


def test_an_error_is_named_without_what_aws_says_about_it() -> None:
    """AWS's own words name roles, keys and objects."""
    error = ClientError(
        {"Error": {"Code": "AccessDenied", "Message": "secret"}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
        "GetObject",
    )
    assert in_short(error) == "GetObject AccessDenied 403"
    assert in_short(ReadTimeoutError(endpoint_url="https://secret.test")) == "ReadTimeoutError"
    assert in_short(KeyError("secret")) == "KeyError"
    assert not is_throttled(KeyError("SlowDown"))
