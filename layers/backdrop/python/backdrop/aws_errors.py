"""What an error of AWS means for the work, decided in one place; nothing else reads its codes for that.

    OBJECT     S3 will not give this object to the functions, however often it is asked
    STACK      a permission, a key or a resource of the stack: people have to correct it, and everything waits
    THROTTLED  AWS asks for fewer requests: come back a little later, nothing is wrong
    PASSING    AWS failed or could not be reached: try again

The calls are S3's GetObject, HeadObject, ListObjectsV2, ListObjectVersions and PutObject (with KMS behind them),
DynamoDB's GetItem, PutItem, UpdateItem and BatchGetItem, SQS's SendMessage and ChangeMessageVisibility, SSM's
GetParameter and EventBridge's PutEvents. Conditions that failed, 404, 412 and 416 are
answers, not errors: whoever asked reads them first.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors
"""

from enum import Enum, auto

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
)

AwsError = BotoCoreError | ClientError


class Kind(Enum):
    """As the module says."""

    OBJECT = auto()
    STACK = auto()
    THROTTLED = auto()
    PASSING = auto()


ARCHIVED = "InvalidObjectState"
CUSTOMER_KEY = "InvalidRequest"
"""S3's answer to a GET, without the key, of what was uploaded with one (SSE-C)."""

_READS = {"GetObject", "HeadObject"}
_S3 = _READS | {"ListObjectsV2", "ListObjectVersions", "PutObject"}
_THROTTLED = {
    "EC2ThrottledException",
    "KmsThrottled",  # SQS
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
    "TooManyUpdates",
}
_KMS_KEY_REFUSES = {  # S3 and SQS put "KMS." before KMS's own names
    "AccessDeniedException",
    "DisabledException",
    "IncorrectKeyException",
    "InvalidCiphertextException",
    "InvalidGrantTokenException",
    "InvalidKeyUsageException",
    "InvalidStateException",
    "KMSInvalidStateException",  # also: its deletion is scheduled
    "NotFoundException",
}
_PASSING = {
    "DependencyTimeoutException",  # KMS
    "InternalError",
    "InternalException",
    "InternalFailure",
    "InternalServerError",
    "KeyUnavailableException",
    "KMSInternalException",
    "OperationAborted",
    "ConditionalRequestConflict",
    "ReplicatedWriteConflictException",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "TransactionConflictException",
    "TransactionInProgressException",
}


def kind_of(error: AwsError) -> Kind:
    """What an error means. What nobody has heard of waits for people when AWS refuses, and passes when AWS fails."""
    if isinstance(error, ClientError):
        return kind(error.operation_name, code_of(error), status_of(error))
    passing = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError, MetadataRetrievalError)
    return Kind.PASSING if isinstance(error, passing) else Kind.STACK


def kind(operation: str, code: str, status: int) -> Kind:
    """What an answer means: AWS's name of the operation, the error's code, the HTTP status (0 for not known).

    A HEAD has no body, so its code is the status again.
    """
    name = code.removeprefix("KMS.")
    if name in _THROTTLED or status == 429 or (status == 503 and operation in _S3):
        return Kind.THROTTLED
    if name in _PASSING or status >= 500:
        return Kind.PASSING
    if operation in _READS and (code == ARCHIVED or is_refused_by_kms_key(code)):
        return Kind.OBJECT
    if operation == "GetObject" and code == CUSTOMER_KEY:
        return Kind.OBJECT
    return Kind.STACK


def is_refused_by_kms_key(code: str) -> bool:
    """Whether S3 says that the object's KMS key is disabled, gone or not for the functions."""
    return code.startswith("KMS.") and code.removeprefix("KMS.") in _KMS_KEY_REFUSES


def is_throttled(error: BaseException) -> bool:
    """Whether AWS asks for fewer requests."""
    return isinstance(error, BotoCoreError | ClientError) and kind_of(error) is Kind.THROTTLED


def in_short(error: Exception) -> str:
    """Operation, code and status for logs and histories, such as `GetObject AccessDenied 403`: nothing of anybody's."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    return " ".join(filter(None, (error.operation_name, code_of(error), str(status_of(error) or ""))))


def code_of(error: ClientError) -> str:
    """AWS's code, empty without one."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status, 0 without one."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
