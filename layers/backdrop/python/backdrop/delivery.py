"""PAID → fetch → store → DONE: what was bought is brought home, and never bought again for it."""

from dataclasses import replace
from itertools import zip_longest
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.claimed_upload import STORING_SECONDS, ClaimedUpload
from backdrop.errors import PermanentFailure, Postponed, ResultError, ResultUnreachable, ResultUnusable
from backdrop.failure_codes import FailureCode
from backdrop.log import logger
from backdrop.queues import backoff
from backdrop.results import checked
from backdrop.upload import Record

FETCH_SECONDS = 60.0
LINK_TRIES = 3
LINK_TRIES_APART_SECONDS = 40.0
LINK_LIFE_SECONDS = 24 * 3600.0
RESULT_RETRY_SECONDS = (5.0, 10.0)
MAX_RESULT_WAIT_SECONDS = 900.0
INLINE_STORE_SECONDS = 4.0


class _Overtaken(Exception):
    """The result of a newer upload is stored already."""


def store(claimed: ClaimedUpload, inline: tuple[bytes, ...]) -> Record:
    """Store what was bought, from `inline` or from its links; the finished record.

    Of an answer that held both, `inline` is empty where the ledger has a link.
    """
    services, record = claimed.services, claimed.record
    found = [data or link for data, link in zip_longest(inline, record.links, fillvalue="")]
    images: list[str | bytes] = found[: record.images]
    if not images:
        message = "paid, and no image came; a new upload buys a new one"
        raise PermanentFailure(FailureCode.NO_IMAGE_RETURNED, message, 200)
    outputs = list(record.outputs) + [None] * (len(images) - len(record.outputs))
    errors: list[ResultError] = []
    # First the inline images, which are here and nowhere else.
    in_turn = sorted(range(len(images)), key=lambda index: isinstance(images[index], str))
    for left, index in zip(range(len(images), 0, -1), in_turn, strict=True):
        if outputs[index]:
            continue
        image = images[index]
        if isinstance(image, str) and not _is_missing(inline, outputs):
            # The ledger has all that is left, and the call need not be repeated for it.
            claimed.record = replace(claimed.record, answered_inline=False)
        try:
            outputs[index] = _store_one(claimed, index + 1, image, left)
        except ResultError as error:
            errors.append(error)  # the others may still be there
        except _Overtaken:
            logger.info("a newer upload of the same key has its result stored already", key=record.key)
            return claimed.done()
        claimed.record = replace(claimed.record, outputs=tuple(outputs))
    if errors:
        # A dead link is told within minutes, also when another one may work later.
        worst = next((error for error in errors if isinstance(error, ResultUnusable)), errors[0])
        raise _after_failure(claimed, worst, may_be_fetched_again=not _is_missing(inline, outputs))
    if len(images) < record.images:
        message = f"{len(images)} of {record.images} images came and are stored"
        raise PermanentFailure(FailureCode.NO_IMAGE_RETURNED, message, 200)
    services.events.replaced(claimed.record, services.clock.now() - record.created_at)
    return claimed.done()


def _is_missing(inline: tuple[bytes, ...], outputs: list[dict[str, Any] | None]) -> bool:
    """Whether one of the inline images is not stored."""
    return any(data and not output for data, output in zip(inline, outputs, strict=False))


def _store_one(claimed: ClaimedUpload, index: int, image: str | bytes, left: int) -> dict[str, Any]:
    services = claimed.services
    data = image if isinstance(image, bytes) else _fetch(claimed, image, left)
    kind = checked(data)
    while True:
        try:
            stored = services.result_storage.store(claimed.record, index, data, kind, services.ledger.reconsider)
        except (BotoCoreError, ClientError) as error:
            # A link can be followed again later; inline images are here and nowhere else.
            pause_ends = services.clock.now() + INLINE_STORE_SECONDS
            if isinstance(image, str) or pause_ends > claimed.ends_at - STORING_SECONDS:
                raise
            logger.warning("paid, but not stored yet", key=claimed.record.key, error=type(error).__name__)
            services.clock.sleep_until(pause_ends)
            continue
        if stored is None:
            raise _Overtaken
        services.metrics.stored()
        return stored


def _fetch(claimed: ClaimedUpload, link: str, left: int) -> bytes:
    """`left` images, this one included, share the rest of the invocation: a slow one must not starve the others."""
    seconds = min(FETCH_SECONDS, (claimed.ends_at - claimed.services.clock.now() - STORING_SECONDS / 2) / left)
    if seconds < STORING_SECONDS / 2:
        raise ResultUnreachable("too little time is left in this invocation")
    return claimed.services.results.fetch(link, seconds)


def _after_failure(
    claimed: ClaimedUpload, error: ResultError, may_be_fetched_again: bool
) -> Postponed | PermanentFailure:
    logger.warning("paid, but not stored yet", key=claimed.record.key, why=str(error))
    now = claimed.services.clock.now()
    age = now - claimed.record.paid_at
    is_unusable = isinstance(error, ResultUnusable)
    failures = claimed.record.link_failures + is_unusable
    if not may_be_fetched_again or age > LINK_LIFE_SECONDS or failures >= LINK_TRIES:
        return PermanentFailure(FailureCode.RESULT_UNAVAILABLE, str(error))
    seconds = LINK_TRIES_APART_SECONDS if is_unusable else backoff(0, *RESULT_RETRY_SECONDS) + age / 2
    wait = Postponed(str(error), now + min(seconds, MAX_RESULT_WAIT_SECONDS))
    return claimed.postponed(wait, replace(claimed.record, link_failures=failures))
