"""One time for all workers: this machine's clock, corrected by the `Date` that DynamoDB answers with.

Leases and slots compare times that different machines wrote; a worker whose clock is minutes off must neither take
over a call that still runs nor push everybody's slots away.
"""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_TOLERANCE = 2.0  # seconds; Date has whole seconds and the answer was on its way


class Clock:
    """Epoch seconds as AWS sees them."""

    def __init__(self) -> None:
        self.is_set = False
        self._offset = 0.0

    def now(self) -> float:
        """Epoch seconds."""
        return time.time() + self._offset

    def observe(self, date_header: str | None) -> None:
        """Take over AWS's time from an HTTP `Date` header when this machine's clock is clearly off."""
        try:
            offset = parsedate_to_datetime(date_header or "").timestamp() - time.time()
        except (ValueError, OverflowError):
            return
        self.is_set = True
        if abs(offset - self._offset) > _TOLERANCE:
            self._offset = offset

    def sleep_until(self, when: float) -> None:
        """Wait in place; for the short waits before a slot."""
        time.sleep(max(0.0, when - self.now()))


def iso_time(at: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_day(at: float) -> str:
    """The UTC day of epoch seconds, as YYYY-MM-DD."""
    return iso_time(at)[:10]
