"""One verified TLS context for all that a worker connects to; its root certificates are loaded once.

urllib3 loads all of them anew for every connection, also into a context that has them already: about 23 ms of CPU each
(https://github.com/boto/botocore/issues/3171, https://github.com/urllib3/urllib3/issues/3623). botocore has no setting
for it. Were it to stop asking the function replaced here, connections would take that time again, and be as safe.
"""

import os
import ssl
from functools import cache
from typing import Any

import botocore.httpsession
import certifi

OWN_CERTIFICATES_OF_AWS = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""What botocore reads; whoever sets one of them gets botocore as it is."""


class _LoadedOnce(ssl.SSLContext):
    """Takes the file that it holds already for loaded, and always verifies, whatever one of its users sets."""

    _file: str | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """As any context, but for what would weaken it for the others."""
        if name not in ("check_hostname", "verify_mode"):
            super().__setattr__(name, value)

    def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        """As any context, but for the file that was loaded first."""
        if cafile is not None and (cafile, capath, cadata) == (self._file, None, None):
            return
        super().load_verify_locations(cafile, capath, cadata)
        self._file = self._file or cafile


def context() -> ssl.SSLContext:
    """For what is no AWS client: verifies against SSL_CERT_FILE where it is set, or else certifi's roots."""
    return verified(os.environ.get("SSL_CERT_FILE") or certifi.where())


def share_with_botocore() -> None:
    """Let the AWS clients that are made from here on use one context, for certifi's roots as botocore itself."""
    if not any(map(os.environ.get, OWN_CERTIFICATES_OF_AWS)):
        shared = verified(certifi.where())
        botocore.httpsession.create_urllib3_context = lambda *_, **__: shared


@cache
def verified(file: str) -> ssl.SSLContext:
    """As strict as `ssl.create_default_context` is from Python 3.13 on."""
    made = _LoadedOnce(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    made.load_verify_locations(file)
    return made
