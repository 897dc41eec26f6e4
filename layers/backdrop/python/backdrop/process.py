"""From a job to stored results: the one path behind every handler.

claim → look at the upload → slot → CALLING → call → PAID → fetch and store → DONE. Whatever interrupts it, the next
attempt goes on from what the ledger says.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from backdrop.announce import Announcer
from backdrop.clock import Clock, iso_time, utc_day
from backdrop.errors import (
    AccountFault,
    GatewayError,
    NeverSent,
    NoImage,
    NotYet,
    OutcomeUnknown,
    Paused,
    Reason,
    Refused,
    Rejected,
    ResultError,
    ResultUnreachable,
    ResultUnusable,
    Superseded,
    TryLater,
    Turn,
)
from backdrop.gateway import Answer, Gateway
from backdrop.job import Job, Malformed, Purchase
from backdrop.ledger import Call, Ledger, Record, State
from backdrop.log import logger
from backdrop.metrics import Metrics
from backdrop.pace import Pace, Slot
from backdrop.queues import Queues, backoff
from backdrop.request import read_request
from backdrop.results import Results, checked
from backdrop.settings import Settings
from backdrop.storage import LINK_SECONDS, Storage

STORING_SECONDS = 10.0  # kept free after a gateway call for writing PAID and, mostly, for storing the result
FETCH_SECONDS = 60.0
LINK_TRIES = 3
LINK_TRIES_APART_SECONDS = 40.0
LINK_LIFE_SECONDS = 24 * 3600.0
RATE_LIMIT_SECONDS = 5.0  # everybody waits this long after a 429 that doesn't say how long
RETRY_SECONDS = (2.0, 300.0)  # least and most of the backoff after a failed call
REPLAY_SECONDS = 5.0
CONFLICT_SECONDS = (15.0, 240.0)
MAX_CONFLICTS = 5
UNRECORDED_SECONDS = 15.0
RESULT_RETRY_SECONDS = (5.0, 10.0)
INLINE_STORE_SECONDS = 4.0
MAX_RESULT_WAIT_SECONDS = 900.0


@dataclass(frozen=True)
class App:
    """Everything that processing needs; built once by `wiring`."""

    settings: Settings
    clock: Clock
    storage: Storage
    ledger: Ledger
    pace: Pace
    gateway: Gateway
    results: Results
    queues: Queues
    announcer: Announcer
    metrics: Metrics


@dataclass(frozen=True)
class Outcome:
    """What became of a job. `due_at` is when to look again, in epoch seconds; None when nothing is left to do."""

    job: Job
    state: str
    due_at: float | None = None
    outputs: tuple[dict[str, Any], ...] = ()


class _Handed(Exception):
    """The rest of the work is in a new message."""


class _Overtaken(Exception):
    """The result of a newer upload is stored already."""


def run(job: Job, app: App, owner: str, ends_at: float) -> Outcome:
    """Process one job as far as it goes now; one that can't succeed is dead-lettered.

    `owner` is unique to this job in this invocation, which is over at `ends_at` (epoch seconds) at the latest.
    Anything unforeseen, AWS faults included, is raised: the job then has to be tried again.
    """
    logger.set_correlation_id(job.id)
    if job.is_skipped:
        logger.info("skipped: a folder marker or an empty object", key=job.key)
        return Outcome(job, "SKIPPED")
    try:
        if job.version_id is None and job.modified is None:
            job = app.storage.resolve(job)
            logger.set_correlation_id(job.id)
        record = _process(job, app, owner, ends_at)
    except NotYet as wait:
        logger.info("postponed", key=job.key, why=str(wait), seconds=round(wait.due_at - app.clock.now(), 1))
        app.metrics.postponed(wait.reason)
        return Outcome(job, "WAITING", wait.due_at)
    except Superseded as reason:
        logger.info("superseded", key=job.key, why=str(reason))
        return Outcome(job, State.SUPERSEDED)
    except _Handed:
        return Outcome(job, "WAITING")
    if record.state is State.REJECTED and not record.dead_lettered:
        if record.owner != owner and record.lease_until > app.clock.now():
            return Outcome(job, "WAITING", record.lease_until)  # another worker is writing the letter
        _dead_letter(record, app)
    logger.info("finished", key=job.key, state=record.state, attempts=record.attempts, usd=record.cost_usd)
    return Outcome(job, record.state, outputs=record.stored)


def dead_letter_malformed(malformed: Malformed, app: App) -> None:
    """Dead-letter what is no upload."""
    logger.error("malformed message", why=malformed.message)
    app.metrics.dead_lettered("malformed_message")
    reason = app.queues.dead_letter_malformed(malformed, iso_time(app.clock.now()))
    app.announcer.failed(None, None, reason)


def _dead_letter(record: Record, app: App) -> None:
    job = Job(record.bucket, record.key, record.version_id, record.etag, modified=record.modified)
    reason, failed_at = record.reason or {}, record.failed_at or ""
    logger.error("dead-lettered", key=job.key, reason=reason)
    app.metrics.dead_lettered(reason["code"])
    app.queues.dead_letter(job, reason, failed_at, record.history)
    app.announcer.failed(record.id, {"bucket": job.bucket, "key": job.key, "version_id": job.version_id}, reason)
    app.ledger.mark_dead_lettered(record.id, failed_at)


def _process(job: Job, app: App, owner: str, ends_at: float) -> Record:
    if job.purchase:
        _record_travelled_purchase(job, job.purchase, app)
    lease_seconds = ends_at - app.clock.now()
    record = app.ledger.claim(job, owner, lease_seconds)
    if record.state is State.REJECTED and job.failed_at is not None and job.failed_at == record.failed_at:
        one_more = 0 if app.settings.on_unknown_outcome == "retry" else -1
        record = app.ledger.reopen(record, owner, lease_seconds, replays=one_more)
    if record.is_finished:
        return record
    attempt = _Attempt(job, app, record, ends_at)
    try:
        try:
            return attempt.go_on()
        except Superseded:
            attempt.let_go(0.0, state=State.SUPERSEDED)
            raise
        except Rejected as rejected:
            return attempt.reject(rejected)
    except (NotYet, Superseded, _Handed):
        raise
    except Exception:
        # Without this the next try would wait for the lease. CALLING stays CALLING, so nothing is forgotten.
        with _best_effort("give back the lease"):
            app.ledger.release(attempt.record, app.clock.now())
        raise


def _record_travelled_purchase(job: Job, purchase: Purchase, app: App) -> None:
    """Write PAID from a message that kept it while the ledger was down; the lease of that time means nothing now."""
    record = app.ledger.read(job.id)
    if record and record.idempotency_key == purchase.idempotency_key and record.state not in (State.PAID, State.DONE):
        app.ledger.paid(record, **_paid(purchase), lease_until=0.0)


def _paid(purchase: Purchase) -> dict[str, Any]:
    return {
        "links": purchase.links,
        "answered_inline": purchase.inline,
        "request_id": purchase.request_id,
        "cost_usd": purchase.cost_usd,
        "paid_at": purchase.paid_at,
        "link_failures": 0,
    }


@contextmanager
def _best_effort(what: str) -> Iterator[None]:
    """For effects whose failure must not undo what is known by now."""
    try:
        yield
    except (NotYet, BotoCoreError, ClientError) as error:
        logger.warning(f"could not {what}", error=type(error).__name__)


class _Attempt:
    """One worker's go at one claimed upload; `record` is what the ledger holds."""

    def __init__(self, job: Job, app: App, record: Record, ends_at: float) -> None:
        self.job = job
        self.app = app
        self.record = record
        self.ends_at = ends_at
        self._inline: tuple[bytes, ...] = ()
        self._unused: Slot | None = None
        """A slot whose images were not charged; given back once the ledger says so."""

    def go_on(self) -> Record:
        """From where the upload stands to DONE."""
        if self.record.state is State.PAID and self.record.answered_inline:
            # The images were in an answer that a crash or S3 has swallowed; only the same call brings them again.
            is_fresh = self.app.clock.now() - self.record.paid_at < LINK_LIFE_SECONDS
            self._save(state=State.UNKNOWN, replays=0 if is_fresh else 1)
        if self.record.state is State.CALLING:
            self.app.metrics.outcome_unknown()  # a worker died, or could not write what it knew
        if self.record.state in (State.CALLING, State.UNKNOWN):
            self._replay()
        elif self.record.state is not State.PAID:
            self._buy()
        return self._store()

    def reject(self, rejected: Rejected) -> Record:
        """Write why the upload can't succeed; a dead letter that is moved back goes on from `rejected_in`.

        The lease stays until the letter is in its queue, so that a duplicate doesn't send a second one.
        """
        now = self.app.clock.now()
        reason = Reason(rejected.code, rejected.message, rejected.http_status, self.record.attempts, rejected.billed)
        changes: dict[str, Any] = {"rejected_in": State.CLAIMED, "call": None, "idempotency_key": None}
        if rejected.billed == "yes" and rejected.code != "outcome_unknown":
            changes = {"rejected_in": State.PAID}
        elif rejected.billed != "no":
            changes = {"rejected_in": State.UNKNOWN}
        changes |= {
            "state": State.REJECTED,
            "due_at": 0.0,
            "reason": asdict(reason),
            "failed_at": iso_time(now),
            "dead_lettered": False,
            "history": self.record.noting(now, rejected.code),
        }
        try:
            self._save(**changes)
        except (BotoCoreError, ClientError):
            self._save(**changes)  # once more: what is known now would be a guess later
        self._give_back()
        return self.record

    def let_go(self, due_at: float, **changes: Any) -> None:
        """Release the upload until `due_at`."""
        self.record = self.app.ledger.release(self.record, due_at, **changes)
        self._give_back()

    # Buying

    def _buy(self) -> None:
        app = self.app
        upload = app.storage.inspect(self.job)
        request = read_request(upload.metadata, app.settings.default_prompt, upload.missing_metadata)
        app.storage.check_key(self.job.key, request.n)
        if 0 < app.settings.daily_image_limit < request.n:
            raise Rejected("invalid_option", f"n is {request.n}; DailyImageLimit allows fewer in a whole day")
        slot, leaves_at = self._slot(request.n)
        number = self.record.key_number + 1
        link_dies_at = app.clock.now() + LINK_SECONDS
        call = app.gateway.new_call(request, app.storage.link(self.job), f"{self.record.id}-{number}", link_dies_at)
        self._call(
            call,
            slot,
            leaves_at,
            idempotency_key=call.idempotency_key,
            key_number=number,
            replays=0,
            conflicts=0,
            images=request.n,
            model=app.settings.gateway_model,
            source_modified=upload.modified,
            prompt_sha256=hashlib.sha256(request.prompt.encode()).hexdigest(),
            prompt_length=len(request.prompt),
        )

    def _replay(self) -> None:
        """Nobody knows what became of the last call: the same key and body find out, or it is left to people."""
        call = self.record.call
        if call is None or not self._may_replay:
            raise self._unknown("a call was sent and its outcome never became known")
        reserved = self.record.reserved_on == utc_day(self.app.clock.now())
        if not reserved and 0 < self.app.settings.daily_image_limit < self.record.images:
            raise self._unknown("a replay no longer fits into DailyImageLimit")
        slot, leaves_at = self._slot(0 if reserved else self.record.images)
        self._call(call, slot, leaves_at, replays=self.record.replays + 1)

    @property
    def _may_replay(self) -> bool:
        # Below 0: a dead letter was moved back under `park`; whoever did it asked for one replay.
        allowed = 1 if self.app.settings.on_unknown_outcome == "retry" else 0
        return self.record.replays < allowed

    def _slot(self, images: int) -> tuple[Slot, float]:
        """A slot, and when its call is to leave."""
        now = self.app.clock.now()
        try:
            if self.ends_at - now < self.app.settings.gateway_timeout_seconds + STORING_SECONDS:
                raise Turn(now)  # too little time is left in this invocation
            slot = self.app.pace.take(images, self.record.turn_at)
            return slot, self.app.pace.wait(slot)
        except NotYet as wait:
            self._wait(wait, turn_at=wait.due_at if isinstance(wait, Turn) else 0.0)

    def _call(self, call: Call, slot: Slot, leaves_at: float, **changes: Any) -> None:
        is_replay = self.record.state in (State.CALLING, State.UNKNOWN)
        photo = self._photo(call, slot, is_replay)
        try:
            self._save(
                state=State.CALLING,
                call=call,
                attempts=self.record.attempts + 1,
                turn_at=self.app.clock.now(),  # it has had its turn, should it have to call again
                reserved_on=slot.day if slot.images else self.record.reserved_on,
                **changes,
            )
        except NotYet:  # refused; after any other failure CALLING may be written all the same
            self.app.pace.give_back(slot)
            raise
        self.app.clock.sleep_until(leaves_at)
        sent_at = self.app.clock.now()
        try:
            answer = self.app.gateway.send(call, lambda: photo, self.app.settings.gateway_timeout_seconds)
        except GatewayError as error:
            self._settle(error, slot, is_replay)
        self.app.metrics.gateway_answered(self.app.clock.now() - sent_at)
        self._inline = answer.inline
        try:
            self._bought(answer)
        finally:
            with _best_effort("tell the pace keeper"):
                self.app.pace.succeeded(slot)

    def _photo(self, call: Call, slot: Slot, is_replay: bool) -> bytes:
        """The photo for a file upload, before CALLING says that it was sent."""
        if call.route != "edits-multipart":
            return b""
        try:
            return self.app.storage.read(self.job)
        except Exception as error:
            self.app.pace.give_back(slot)
            if is_replay and isinstance(error, Superseded):
                raise self._unknown("the photo is gone, so the call can't be sent again") from None
            raise

    def _bought(self, answer: Answer) -> None:
        self._keep(
            Purchase(
                idempotency_key=self.record.idempotency_key or "",
                links=answer.links,
                inline=bool(answer.inline),
                request_id=answer.request_id,
                cost_usd=str(answer.cost_usd),
                paid_at=self.app.clock.now(),
            )
        )

    def _keep(self, purchase: Purchase) -> None:
        """Write PAID; with the ledger down, a message keeps the purchase until it is back."""
        is_new = not self.record.paid_at  # inline images are asked for again with the same call
        try:
            self.record = self.app.ledger.paid(self.record, **_paid(purchase), history=self.record.history)
        except (BotoCoreError, ClientError) as error:
            if purchase.inline:
                raise  # too large for a message: the same call brings the images again
            logger.error("PAID could not be written; a message keeps the purchase", error=type(error).__name__)
            self.app.queues.retry(self.job, UNRECORDED_SECONDS, purchase)
            if is_new:
                self.app.metrics.bought(self.record.images, purchase.cost_usd)
            raise _Handed from None
        if is_new:
            self.app.metrics.bought(self.record.images, purchase.cost_usd)
        logger.info("paid", images=self.record.images, usd=purchase.cost_usd, request_id=purchase.request_id)

    # A call that brought no image

    def _settle(self, error: GatewayError, slot: Slot, is_replay: bool) -> NoReturn:
        """Write what is known about a call that brought no image, and wait or give up."""
        pace, now = self.app.pace, self.app.clock.now()
        status: int | None = getattr(error, "status", None)
        what = f"{type(error).__name__} {status}" if status else type(error).__name__
        self.app.metrics.gateway_failed(what)
        logger.warning("gateway call failed", outcome=what, detail=str(error), attempts=self.record.attempts)
        self.record = replace(self.record, history=self.record.noting(now, what))

        if isinstance(error, NoImage):
            with _best_effort("tell the pace keeper"):
                pace.answered(slot)
            cost = str(self.app.settings.price_per_image_usd * self.record.images)
            self._keep(Purchase(self.record.idempotency_key or "", (), False, "", cost, now))
            raise Rejected("no_image_returned", str(error), 200, "yes")
        if isinstance(error, OutcomeUnknown):
            self.app.metrics.outcome_unknown()
            is_down = self._failed(slot, what)
            replays = self.record.replays - (1 if slot.is_probe and is_replay else 0)  # a probe finds out about others
            self.record = replace(self.record, replays=replays)
            if not self._may_replay:
                raise self._unknown(str(error))
            replay = Paused(str(error), pace.next_look()) if is_down else NotYet(str(error), now + REPLAY_SECONDS)
            self._wait(replay, state=State.UNKNOWN)

        self._unused = slot
        if slot.images:
            self.record = replace(self.record, reserved_on=None)
        back: dict[str, Any] = {"state": State.CLAIMED, "call": None, "idempotency_key": None}
        if is_replay:  # it says nothing about the first call
            back = {"state": State.UNKNOWN, "replays": self.record.replays - 1}

        if isinstance(error, Refused):
            with _best_effort("tell the pace keeper"):
                pace.answered(slot)
            self._refused(error, is_replay, back)
        if isinstance(error, AccountFault):
            with _best_effort("pause all calls"):
                pace.pause(slot, str(error.status))
            self._wait(Paused(str(error), pace.next_look()), attempts=self.record.attempts - 1, turn_at=0.0, **back)

        is_down = self._failed(slot, what)
        strikes = self.record.strikes
        asked = 0.0
        if isinstance(error, NeverSent):
            back["attempts"] = self.record.attempts - 1
        elif isinstance(error, TryLater):
            asked = error.retry_after or 0.0
            if error.status == 429:
                with _best_effort("push everybody back"):
                    pace.push_back(asked or RATE_LIMIT_SECONDS)
            elif not slot.is_probe:
                strikes += 1
        if strikes >= self.app.settings.max_attempts:
            message = f"{strikes} calls failed; the last: {error}"
            raise self._unknown(message) if is_replay else Rejected("attempts_exhausted", message, status)
        if is_down:
            self._wait(Paused(str(error), pace.next_look()), strikes=strikes, turn_at=0.0, **back)
        self._wait(NotYet(str(error), now + max(asked, backoff(strikes, *RETRY_SECONDS))), strikes=strikes, **back)

    def _failed(self, slot: Slot, what: str) -> bool:
        """Tell the pace keeper of a failure that may mean an outage; whether all calls are paused."""
        with _best_effort("tell the pace keeper"):
            return self.app.pace.failed(slot, what)
        return False

    def _refused(self, error: Refused, is_replay: bool, back: dict[str, Any]) -> NoReturn:
        now = self.app.clock.now()
        call = self.record.call
        if is_replay and error.status == 409:
            conflicts = self.record.conflicts + 1
            if conflicts > MAX_CONFLICTS:
                raise self._unknown("the gateway says that the first call is still running, again and again")
            due_at = now + backoff(conflicts, *CONFLICT_SECONDS)
            self._wait(NotYet(str(error), due_at), conflicts=conflicts, **back)
        if is_replay and self.record.paid_at:
            raise Rejected("result_unavailable", str(error), error.status, "yes")
        if is_replay and call and now > call.image_link_dies_at:
            # The gateway would have known a call that it charged; it tried a new one and the photo's link was dead.
            back |= {"state": State.CLAIMED, "call": None, "idempotency_key": None, "reserved_on": None}
            self._wait(NotYet("the first call was not charged", now), **back)
        # A gateway that knows the first call would have answered with it; one that doesn't tells nothing about it.
        raise Rejected("rejected_by_gateway", str(error), error.status, "unknown" if is_replay else "no")

    def _unknown(self, message: str) -> Rejected:
        return Rejected("outcome_unknown", message, billed="yes" if self.record.paid_at else "unknown")

    # Storing

    def _store(self) -> Record:
        found: tuple[str | bytes, ...] = self._inline or self.record.links
        images = found[: self.record.images]
        if not images:
            raise Rejected("no_image_returned", "paid, and no image came; a new upload buys a new one", 200, "yes")
        outputs = list(self.record.outputs) + [None] * (len(images) - len(self.record.outputs))
        failed: ResultError | None = None
        for index, image in enumerate(images):
            if outputs[index]:
                continue
            try:
                outputs[index] = self._store_one(index + 1, image)
            except ResultError as error:
                # The others may still be there; one that may work later must not cost them their links.
                failed = error if failed is None or isinstance(failed, ResultUnreachable) else failed
            except _Overtaken:
                logger.info("a newer upload of the same key has its result stored already", key=self.job.key)
                return self._done()
            self.record = replace(self.record, outputs=tuple(outputs))
        if failed:
            self._result_failed(failed)
        if len(images) < self.record.images:
            message = f"{len(images)} of {self.record.images} images came and are stored"
            raise Rejected("no_image_returned", message, 200, "yes")
        self.app.announcer.replaced(self.record, self.app.clock.now() - self.record.created_at)
        return self._done()

    def _store_one(self, index: int, image: str | bytes) -> dict[str, Any]:
        data = image if isinstance(image, bytes) else self._fetch(image)
        kind = checked(data)
        while True:
            try:
                stored = self.app.storage.store(self.record, index, data, kind)
            except (BotoCoreError, ClientError) as error:
                # A link can be followed again later; inline images are here and nowhere else.
                pause_ends = self.app.clock.now() + INLINE_STORE_SECONDS
                if isinstance(image, str) or pause_ends > self.ends_at - STORING_SECONDS:
                    raise
                logger.warning("paid, but not stored yet", key=self.job.key, error=type(error).__name__)
                self.app.clock.sleep_until(pause_ends)
                continue
            if stored is None:
                raise _Overtaken
            self.app.metrics.stored()
            return stored

    def _fetch(self, link: str) -> bytes:
        now = self.app.clock.now()
        seconds = min(FETCH_SECONDS, self.ends_at - now - STORING_SECONDS / 2)
        if seconds < STORING_SECONDS / 2:
            self._wait(NotYet("too little time is left in this invocation", now))
        return self.app.results.fetch(link, seconds)

    def _result_failed(self, error: ResultError) -> NoReturn:
        logger.warning("paid, but not stored yet", key=self.job.key, why=str(error))
        now = self.app.clock.now()
        age = now - self.record.paid_at
        is_unusable = isinstance(error, ResultUnusable)
        failures = self.record.link_failures + is_unusable
        if self._inline or age > LINK_LIFE_SECONDS or failures >= LINK_TRIES:
            raise Rejected("result_unavailable", str(error), billed="yes")
        seconds = LINK_TRIES_APART_SECONDS if is_unusable else backoff(0, *RESULT_RETRY_SECONDS) + age / 2
        self._wait(NotYet(str(error), now + min(seconds, MAX_RESULT_WAIT_SECONDS)), link_failures=failures)

    # The ledger

    def _done(self) -> Record:
        self.let_go(0.0, state=State.DONE, call=None)
        return self.record

    def _save(self, **changes: Any) -> None:
        self.record = self.app.ledger.save(self.record, **changes)

    def _wait(self, wait: NotYet, **changes: Any) -> NoReturn:
        self.let_go(wait.due_at, **changes)
        now = self.app.clock.now()
        paid_seconds = now - self.record.paid_at if self.record.state is State.PAID else 0.0
        self.app.metrics.waiting(now - self.record.created_at, paid_seconds)
        raise wait

    def _give_back(self) -> None:
        if self._unused:
            slot, self._unused = self._unused, None
            with _best_effort("give back the day's images"):
                self.app.pace.give_back(slot)
