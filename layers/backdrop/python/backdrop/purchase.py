"""Slot → CALLING → call → PAID: the steps that cost money, in the order that never pays twice."""

import gc
import hashlib
from dataclasses import replace
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.batches import shard_of
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
    DailyLimitReached,
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
from backdrop.routes import ROUTES
from backdrop.storage import LINK_SECONDS
from backdrop.upload import REPLAY_KNOWN, REPLAY_NEW, Record

RATE_LIMIT_SECONDS = 5.0  # everybody waits this long after a 429 that doesn't say how long
KEY_LIFE_SECONDS = 23 * 3600.0  # for so long a gateway is trusted to know a key again; none says for how long it does


def buy(claimed: ClaimedUpload) -> tuple[bytes, ...]:
    """Make a new call for the upload and write PAID; returns the images that came inline.

    Raises Unchanged when the key's current result is made from the very same.
    """
    services = claimed.services
    upload, request = inspect(claimed.job, services.storage, services.prompts, services.settings)
    claimed.record = replace(claimed.record, tag=request.tag, batch=shard_of(upload.metadata))
    made_from = fingerprint(upload, request, services.settings)
    record = claimed.record
    if not (record.queue_position or record.images_later or record.calls_sent):  # only at first: it costs a request
        current = services.result_storage.current_results(claimed.job.key, request.n, made_from, request.again)
        if current:
            services.prompts.forget()  # a prompt.txt may have changed since this worker read it
            upload, request = inspect(claimed.job, services.storage, services.prompts, services.settings)
            if fingerprint(upload, request, services.settings) == made_from:
                raise Unchanged(current, made_from)
            made_from = fingerprint(upload, request, services.settings)
    slot, leaves_at = _slot(claimed, request.n, is_replay=False)
    # Random, so that no other stack and no ledger made anew ever uses it for this upload; the ledger keeps it.
    key = f"{claimed.record.id}-{claimed.record.idempotency_key_number + 1}-{uuid4().hex[:12]}"
    now = services.clock.now()
    call = services.gateway.new_call(request, services.storage.link(claimed.job), key, now, now + LINK_SECONDS)
    order = Order(
        images=request.n,
        model=services.settings.gateway_model,
        source_modified=upload.modified,
        fingerprint=made_from,
        again=request.again,
        prompt_sha256=hashlib.sha256(request.prompt.encode()).hexdigest(),
        prompt_length=len(request.prompt),
    )
    return _call(claimed, claimed.record.with_call(call, order, now), call, slot, leaves_at, is_replay=False)


def replay(claimed: ClaimedUpload) -> tuple[bytes, ...]:
    """Nobody knows what became of the last call: the same key and body find out, or it is left to people."""
    record = claimed.record
    if record.call is None or not claimed.may_replay:
        raise outcome_unknown(record, "a call was sent and its outcome never became known")
    is_old = claimed.services.clock.now() - record.call.made_at > KEY_LIFE_SECONDS
    if is_old and (record.unanswered or record.paid_at):  # a call that was answered with a failure is likely unpaid
        raise outcome_unknown(
            record, "its call was sent so long ago that the gateway may have forgotten the idempotency key"
        )
    if not (record.unanswered or record.paid_at) and claimed.services.storage.is_replaced(claimed.job):
        raise Superseded("another object has replaced it since its call failed")
    if 0 < claimed.services.settings.daily_image_limit < record.images:
        raise outcome_unknown(record, "a replay no longer fits into DailyImageLimit")
    # Its images are reserved anew: perhaps the gateway charges them anew.
    slot, leaves_at = _slot(claimed, record.images, is_replay=True)
    return _call(
        claimed, record.with_replay(claimed.services.clock.now()), record.call, slot, leaves_at, is_replay=True
    )


def _slot(claimed: ClaimedUpload, images: int, *, is_replay: bool) -> tuple[Slot, float]:
    """A slot, and when its call is to leave."""
    services, record, now = claimed.services, claimed.record, claimed.services.clock.now()
    try:
        services.gateway.have_key()  # before there is a slot that would be lost
    except KeyThrottled as error:
        raise claimed.postponed(Throttled(str(error), now + backoff(5, *THROTTLED_SECONDS))) from None
    try:
        if claimed.ends_at - now < services.settings.gateway_timeout_seconds + STORING_SECONDS:
            raise NoSlotFree(now)  # too little time is left in this invocation
        day_place = record.due_at if record.images_later else 0.0
        slot = services.rate_limiter.acquire(images, record.queue_position, day_place, is_replay=is_replay)
        return slot, services.rate_limiter.wait(slot)
    except DailyLimitReached as wait:
        handle = claimed.job.receipt_handle
        sleeping = replace(record, queue_position=0.0, images_later=images, receipt_handle=handle)
        raise claimed.postponed(wait, sleeping) from None
    except Postponed as wait:
        queue_position = wait.due_at if isinstance(wait, NoSlotFree) else 0.0
        raise claimed.postponed(wait, replace(record, queue_position=queue_position, images_later=0)) from None


def _call(
    claimed: ClaimedUpload, calling: Record, call: Call, slot: Slot, leaves_at: float, is_replay: bool
) -> tuple[bytes, ...]:
    """Write `calling`, send `call` at its time, and write what came of it; the images that came inline."""
    services = claimed.services
    photo = _photo(claimed, call, slot, is_replay)
    try:
        claimed.save(calling)
    except Postponed:  # refused
        services.rate_limiter.refund(slot)
        raise
    except (BotoCoreError, ClientError):
        claimed.uncharged_slot = slot  # if the upload can be released as it was, CALLING was not written
        raise
    services.clock.sleep_until(leaves_at)
    sent_at = services.clock.now()
    if utc_day(sent_at) > slot.day:  # reading the photo or writing CALLING took until midnight
        not_made = claimed.record.with_uncharged_call(is_replay)
        raise claimed.postponed(NoSlotFree(sent_at), replace(not_made, calls_sent=not_made.calls_sent - 1))
    try:
        answer = services.gateway.send(call, photo, services.settings.gateway_timeout_seconds)
    except GatewayError as error:
        raise _after_failure(claimed, error, slot, is_replay) from None
    if is_replay:
        what = REPLAY_KNOWN if answer.is_replayed else REPLAY_NEW
        claimed.record = claimed.record.noted(services.clock.now(), what)
    services.metrics.gateway_answered(services.clock.now() - sent_at)
    purchase = Purchase(
        idempotency_key=call.idempotency_key,
        links=answer.links,
        inline=bool(answer.inline),
        request_id=answer.request_id,
        cost_usd=str(answer.cost_usd),
        paid_at=services.clock.now(),
    )
    try:
        claimed.paid(purchase)
    finally:
        with best_effort("tell the rate limiter"):
            services.rate_limiter.breaker.succeeded(slot)
    return answer.inline


def _photo(claimed: ClaimedUpload, call: Call, slot: Slot, is_replay: bool) -> bytes:
    """The photo for a file upload, before CALLING says that it was sent."""
    if not ROUTES[call.route].is_upload:
        return b""
    gc.collect()  # httpx's objects hold each other, and with them the last call's photo: two are too much for 256 MB
    try:
        return claimed.services.storage.read(claimed.job)
    except Exception as error:
        claimed.services.rate_limiter.refund(slot)
        if is_replay and isinstance(error, Superseded | Unreadable):
            why = "is gone" if isinstance(error, Superseded) else "can't be read any more"
            raise outcome_unknown(claimed.record, f"the photo {why}, so the call can't be sent again") from None
        raise


def _after_failure(
    claimed: ClaimedUpload, error: GatewayError, slot: Slot, is_replay: bool
) -> Postponed | FailedForGood:
    """What the upload ends or waits with, after the failed call is noted and the rate limiter told."""
    services, status = claimed.services, error.status if isinstance(error, AnsweredError) else None
    what = f"{type(error).__name__} {status}" if status else type(error).__name__
    services.metrics.gateway_failed(what)
    claimed.record = claimed.record.noted(services.clock.now(), what)
    call = FailedCall(error, claimed.record, is_replay, slot.is_probe, False, 0.0, services.clock.now())
    is_paused = _tell_rate_limiter(claimed, call, slot)
    logger.warning(
        "gateway call failed",
        outcome=what,
        failure=_failure(error),
        failing_since=services.rate_limiter.breaker.failing_since,
        detail=str(error),
        attempts=claimed.record.calls_sent,
    )
    if isinstance(error, NoImage):
        cost = str(services.settings.price_per_image_usd * claimed.record.images)
        claimed.paid(Purchase(claimed.record.idempotency_key or "", (), False, "", cost, services.clock.now()))
        with best_effort("keep the answer for the gateway's support"):
            services.ledger.keep_answer(claimed.record.id, error.answer)
    call = replace(
        call, record=claimed.record, is_paused=is_paused, next_look=services.rate_limiter.breaker.next_look()
    )
    sent = claimed.record.call
    if is_replay and sent and isinstance(error, BadRequestError | AccountFault):
        call = replace(call, link=link_state(sent, services.storage.link(claimed.job), call.now))
    decision = decide(call, Limits(services.settings.max_attempts, services.settings.replays_allowed))
    if isinstance(error, OutcomeUnknown):
        services.metrics.outcome_unknown()
    if decision.is_refunded:
        claimed.uncharged_slot = slot
    if decision.rejected:
        return FailedForGood(decision.rejected, decision.record)
    kind = Paused if decision.is_pause else Postponed
    return claimed.postponed(kind(decision.why, decision.due_at), decision.record)


def _tell_rate_limiter(claimed: ClaimedUpload, call: FailedCall, slot: Slot) -> bool:
    """All that the rate limiter hears of a failed call; whether all calls are paused."""
    limiter, error = claimed.services.rate_limiter, call.error
    reason = _failure(error)
    with best_effort("tell the rate limiter"):
        if isinstance(error, KeyThrottled):
            return False  # it says nothing about the gateway
        if isinstance(error, NoImage | BadRequestError):
            limiter.breaker.answered(slot)
        elif isinstance(error, AccountFault):
            if forbidden_responses_of(call) < MAX_FORBIDDEN_RESPONSES:
                limiter.breaker.pause(slot, reason, may_be_charged=False)
            return True
        elif isinstance(error, GatewayBusy) and error.status == 429:
            limiter.back_off(error.retry_after or RATE_LIMIT_SECONDS)
            return limiter.breaker.failed(slot, reason, may_be_charged=False)
        else:
            return limiter.breaker.failed(slot, reason, may_be_charged=True)
    return False


def _failure(error: GatewayError) -> str:
    """A failed call for people: its status with the gateway's own code, or why there is none."""
    if isinstance(error, AnsweredError):
        return f"{error.status} {error.code}".strip()
    if isinstance(error, NoImage):
        return "no image"
    return "no connection" if isinstance(error, NeverSent) else "no answer"
