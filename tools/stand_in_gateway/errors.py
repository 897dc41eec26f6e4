"""The gateway's documented refusals: a status, and the type and code that its pages print beside it."""

from starlette.responses import JSONResponse

# status: (type, code). Types from the model's page, codes from the gateway's error reference.
_DOCUMENTED = {
    400: ("invalid_request_error", "invalid_request"),
    401: ("authentication_error", "invalid_key"),
    402: ("insufficient_credits", "insufficient_credits"),
    403: ("permission_error", "scope_exceeded"),
    404: ("not_found", "unknown_model"),
    409: ("invalid_request_error", "idempotency_conflict"),
    413: ("invalid_request_error", "payload_too_large"),
    422: ("invalid_request_error", "unsupported_parameter"),
    429: ("rate_limit_error", "rate_limited"),
    500: ("server_error", "server_error"),
    502: ("server_error", "provider_unavailable"),
    503: ("service_unavailable", "capacity_exceeded"),
    504: ("server_error", "provider_timeout"),
}


class GatewayError(Exception):
    """A call that is refused and costs nothing."""

    def __init__(self, status: int, message: str, code: str | None = None, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type, documented_code = _DOCUMENTED.get(status, ("error", f"http_{status}"))
        self.code = code or documented_code
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """Status, body and headers as documented."""
        return JSONResponse(
            {"error": {"message": self.message, "type": self.type, "code": self.code}},
            self.status,
            {} if self.retry_after is None else {"retry-after": self.retry_after},
        )
