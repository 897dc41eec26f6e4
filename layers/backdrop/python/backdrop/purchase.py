"""Slot → CALLING → call → PAID: the steps that cost money, in the order that never pays twice."""

import gc
import hashlib
from dataclasses import replace
from typing import NoReturn
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.call import Call, Order, Purchase
from backdrop.call_failures import (
    MAX_FORBIDDEN_RESPONSES,
    FailedCall,
    Limits,
    decide,
    forbidden_responses_of,
    outcome_unknown,
)
from backdrop.claimed_upload import STORING_SECONDS, ClaimedUpload, FailedForGood, best_effort
from backdrop.clock import utc_day
from backdrop.errors import (
    AccountFault,
    AnsweredError,
    BadRequestError,
    GatewayBusy,
    GatewayError,
    KeyThrottled,
    NeverSent,
    NoImage,
    NoSlotFree,
    OutcomeUnknown,
    Paused,
    Postponed,
    Superseded,
    Throttled,
    Unchanged,
    Unreadable,
)
from backdrop.inspection import fingerprint, inspect
from backdrop.log import logger
from backdrop.pace_item import Slot
from backdrop.photo_link import link_state
from backdrop.queues import THROTTLED_SECONDS, backoff
from backdrop.storage import LINK_SECONDS
from backdrop.upload import Record

RATE_LIMIT_SECONDS = 5.0  # everybody waits this long after a 429 that doesn't say how long
KEY_LIFE_SECONDS = 23 * 3600.0  # for so long a gateway is trusted to know a key again; none says for how long it does


def buy(attempt: ClaimedUpload) -> tuple[bytes, ...]:
    """Make a new call for the upload and write PAID; returns the images that came inline.

    Raises Unchanged when the key's current result is made from the very same.
    """
    app = attempt.app
    upload, request = inspect(attempt.job, app.storage, app.prompts, app.settings)
    attempt.record = replace(attempt.record, tag=request.tag)
    made_from = fingerprint(upload, request, app.settings)
    if not (attempt.record.queue_position or attempt.record.calls_sent):  # only at first: a look costs a request to S3
        current = app.result_storage.current_results(attempt.job.key, request.n, made_from, request.again)
        if current:
            app.prompts.forget()  # a prompt.txt may have changed since this worker read it
            upload, request = inspect(attempt.job, app.storage, app.prompts, app.settings)
            if fingerprint(upload, request, app.settings) == made_from:
                raise Unchanged(current, made_from)
            made_from = fingerprint(upload, request, app.settings)
    slot, leaves_at = _slot(attempt, request.n)
    # Random, so that no other stack and no ledger made anew ever uses it for this upload; the ledger keeps it.
    key = f"{attempt.record.id}-{attempt.record.idempotency_key_number + 1}-{uuid4().hex[:12]}"
    now = app.clock.now()
    call = app.gateway.new_call(request, app.storage.link(attempt.job), key, now, now + LINK_SECONDS)
    order = Order(
        images=request.n,
        model=app.settings.gateway_model,
        source_modified=upload.modified,
        fingerprint=made_from,
        again=request.again,
        prompt_sha256=hashlib.sha256(request.prompt.encode()).hexdigest(),
        prompt_length=len(request.prompt),
    )
    return _call(attempt, attempt.record.with_call(call, order, now), call, slot, leaves_at, is_replay=False)


def replay(attempt: ClaimedUpload) -> tuple[bytes, ...]:
    """Nobody knows what became of the last call: the same key and body find out, or it is left to people."""
    record = attempt.record
    if record.call is None or not attempt.may_replay:
        raise outcome_unknown(record, "a call was sent and its outcome never became known")
    is_old = attempt.app.clock.now() - record.call.made_at > KEY_LIFE_SECONDS
    if is_old and (record.unanswered or record.paid_at):  # a call that was answered with a failure is likely unpaid
        raise outcome_unknown(
            record, "its call was sent so long ago that the gateway may have forgotten the idempotency key"
        )
    if not (record.unanswered or record.paid_at) and attempt.app.storage.is_replaced(attempt.job):
        raise Superseded("another object has replaced it since its call failed")
    if 0 < attempt.app.settings.daily_image_limit < record.images:
        raise outcome_unknown(record, "a replay no longer fits into DailyImageLimit")
    slot, leaves_at = _slot(attempt, record.images)  # reserved anew: perhaps the gateway charges it anew
    return _call(attempt, record.with_replay(attempt.app.clock.now()), record.call, slot, leaves_at, is_replay=True)


def _slot(attempt: ClaimedUpload, images: int) -> tuple[Slot, float]:
    """A slot, and when its call is to leave."""
    app, now = attempt.app, attempt.app.clock.now()
    try:
        app.gateway.have_key()  # before there is a slot that would be lost
    except KeyThrottled as error:
        attempt.wait(Throttled(str(error), now + backoff(2, *THROTTLED_SECONDS)))
    try:
        if attempt.ends_at - now < app.settings.gateway_timeout_seconds + STORING_SECONDS:
            raise NoSlotFree(now)  # too little time is left in this invocation
        slot = app.pace.acquire(images, attempt.record.queue_position)
        return slot, app.pace.wait(slot)
    except Postponed as wait:
        attempt.wait(wait, replace(attempt.record, queue_position=wait.due_at if isinstance(wait, NoSlotFree) else 0.0))


def _call(
    attempt: ClaimedUpload, calling: Record, call: Call, slot: Slot, leaves_at: float, is_replay: bool
) -> tuple[bytes, ...]:
    """Write `calling`, send `call` at its time, and write what came of it; the images that came inline."""
    app = attempt.app
    photo = _photo(attempt, call, slot, is_replay)
    try:
        attempt.save(calling)
    except Postponed:  # refused
        app.pace.refund(slot)
        raise
    except (BotoCoreError, ClientError):
        attempt.unused = slot  # if the upload can be released as it was, CALLING was not written
        raise
    app.clock.sleep_until(leaves_at)
    sent_at = app.clock.now()
    if utc_day(sent_at) > slot.day:  # reading the photo or writing CALLING took until midnight
        not_made = attempt.record.with_uncharged_call(is_replay)
        attempt.wait(NoSlotFree(sent_at), replace(not_made, calls_sent=not_made.calls_sent - 1))
    try:
        answer = app.gateway.send(call, photo, app.settings.gateway_timeout_seconds)
    except GatewayError as error:
        _failed(attempt, error, slot, is_replay)
    app.metrics.gateway_answered(app.clock.now() - sent_at)
    purchase = Purchase(
        idempotency_key=call.idempotency_key,
        links=answer.links,
        inline=bool(answer.inline),
        request_id=answer.request_id,
        cost_usd=str(answer.cost_usd),
        paid_at=app.clock.now(),
    )
    try:
        attempt.paid(purchase)
    finally:
        with best_effort("tell the rate limiter"):
            app.pace.breaker.succeeded(slot)
    return answer.inline


def _photo(attempt: ClaimedUpload, call: Call, slot: Slot, is_replay: bool) -> bytes:
    """The photo for a file upload, before CALLING says that it was sent."""
    if call.route != "edits-multipart":
        return b""
    gc.collect()  # httpx's objects hold each other, and with them the last call's photo: two are too much for 256 MB
    try:
        return attempt.app.storage.read(attempt.job)
    except Exception as error:
        attempt.app.pace.refund(slot)
        if is_replay and isinstance(error, Superseded | Unreadable):
            why = "is gone" if isinstance(error, Superseded) else "can't be read any more"
            raise outcome_unknown(attempt.record, f"the photo {why}, so the call can't be sent again") from None
        raise


def _failed(attempt: ClaimedUpload, error: GatewayError, slot: Slot, is_replay: bool) -> NoReturn:
    """Note a failed call, tell the rate limiter, and do what was decided: raise Postponed or FailedForGood."""
    app, status = attempt.app, error.status if isinstance(error, AnsweredError) else None
    what = f"{type(error).__name__} {status}" if status else type(error).__name__
    app.metrics.gateway_failed(what)
    attempt.record = attempt.record.noted(app.clock.now(), what)
    call = FailedCall(error, attempt.record, is_replay, slot.is_probe, False, 0.0, app.clock.now())
    is_paused = _tell_pace(attempt, call, slot)
    logger.warning(
        "gateway call failed",
        outcome=what,
        failure=_failure(error),
        failing_since=app.pace.breaker.failing_since,
        detail=str(error),
        attempts=attempt.record.calls_sent,
    )
    if isinstance(error, NoImage):
        cost = str(app.settings.price_per_image_usd * attempt.record.images)
        attempt.paid(Purchase(attempt.record.idempotency_key or "", (), False, "", cost, app.clock.now()))
        with best_effort("keep the answer for the gateway's support"):
            app.ledger.keep_answer(attempt.record.id, error.answer)
    call = replace(call, record=attempt.record, is_paused=is_paused, next_look=app.pace.breaker.next_look())
    sent = attempt.record.call
    if is_replay and sent and isinstance(error, BadRequestError | AccountFault):
        call = replace(call, link=link_state(sent, app.storage.link(attempt.job), call.now))
    decision = decide(call, Limits(app.settings.max_attempts, app.settings.replays_allowed))
    if isinstance(error, OutcomeUnknown):
        app.metrics.outcome_unknown()
    if decision.is_refunded:
        attempt.unused = slot
    if decision.rejected:
        raise FailedForGood(decision.rejected, decision.record)
    kind = Paused if decision.is_pause else Postponed
    attempt.wait(kind(decision.why, decision.due_at), decision.record)


def _tell_pace(attempt: ClaimedUpload, call: FailedCall, slot: Slot) -> bool:
    """All that the rate limiter hears of a failed call; whether all calls are paused."""
    pace, error = attempt.app.pace, call.error
    reason = _failure(error)
    with best_effort("tell the rate limiter"):
        if isinstance(error, KeyThrottled):
            return False  # it says nothing about the gateway
        if isinstance(error, NoImage | BadRequestError):
            pace.breaker.answered(slot)
        elif isinstance(error, AccountFault):
            if forbidden_responses_of(call) < MAX_FORBIDDEN_RESPONSES:
                pace.breaker.pause(slot, reason, may_be_charged=False)
            return True
        elif isinstance(error, GatewayBusy) and error.status == 429:
            pace.back_off(error.retry_after or RATE_LIMIT_SECONDS)
            return pace.breaker.failed(slot, reason, may_be_charged=False)
        else:
            return pace.breaker.failed(slot, reason, may_be_charged=True)
    return False


def _failure(error: GatewayError) -> str:
    """A failed call for people: its status with the gateway's own code, or why there is none."""
    if isinstance(error, AnsweredError):
        return f"{error.status} {error.code}".strip()
    if isinstance(error, NoImage):
        return "no image"
    return "no connection" if isinstance(error, NeverSent) else "no answer"
