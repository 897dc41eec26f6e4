"""The ledger: one item an upload, what was done for it and what it cost; `states` says what the states are.

Every write is conditional: it is refused when another worker has taken the upload over or moved it on. The first one
of an upload that is taken for new is its claim: it is refused when the ledger knows the upload.
"""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backdrop.call import Purchase
from backdrop.clock import Clock
from backdrop.errors import KnownUpload, Postponed
from backdrop.job import Job
from backdrop.ledger_items import attributes, item_of, record_of, refused_item
from backdrop.states import State
from backdrop.upload import Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LEASE_MARGIN_SECONDS = 5.0  # `Date` headers have whole seconds, see clock
DUPLICATE_LOOKS_AGAIN_SECONDS = 30.0
KEEP_DAYS = 400  # an upload that the ledger has forgotten would be bought again by a backfill
KEEP_ANSWER_DAYS = 7
_NEVER = 0.0  # when a record was written that is not in the ledger yet


class Ledger:
    """The uploads' items in the ledger table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def unseen(self, job: Job, owner: str, lease_seconds: float) -> Record:
        """The record of an upload that is taken for new, not written yet; its first write is its claim."""
        now = self._clock.now()
        return Record(
            id=job.id,
            bucket=job.bucket,
            key=job.key,
            version_id=job.version_id,
            etag=job.etag,
            state=State.CLAIMED,
            owner=owner,
            lease_until=now + lease_seconds + LEASE_MARGIN_SECONDS,
            created_at=now,
            updated_at=_NEVER,
            expires_at=int(now) + KEEP_DAYS * 86400,
            modified=job.modified,
        )

    def claim(self, job: Job, owner: str, lease_seconds: float) -> Record:
        """Take the upload for `lease_seconds`; a finished one is returned as it is.

        Raises Postponed while another worker has it.
        """
        now = self._clock.now()
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"id": {"S": job.id}},
                UpdateExpression=(
                    "SET #bucket = :bucket, #key = :key, version_id = :version, etag = :etag,"
                    " modified = :modified, #owner = :owner, lease_until = :until, updated_at = :now,"
                    " #state = if_not_exists(#state, :claimed),"
                    " created_at = if_not_exists(created_at, :now), expires_at = if_not_exists(expires_at, :expires)"
                ),
                ConditionExpression=(
                    "attribute_not_exists(id) OR (lease_until < :now AND NOT #state IN (:done, :rejected, :unchanged))"
                ),
                ExpressionAttributeNames={"#bucket": "bucket", "#key": "key", "#owner": "owner", "#state": "state"},
                ExpressionAttributeValues=attributes(
                    {
                        ":bucket": job.bucket,
                        ":key": job.key,
                        ":version": job.version_id,
                        ":etag": job.etag,
                        ":modified": job.modified,
                        ":owner": owner,
                        ":until": now + lease_seconds + LEASE_MARGIN_SECONDS,
                        ":now": now,
                        ":expires": int(now) + KEEP_DAYS * 86400,
                        ":claimed": State.CLAIMED,
                        ":done": State.DONE,
                        ":rejected": State.REJECTED,
                        ":unchanged": State.UNCHANGED,
                    }
                ),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            record = record_of(refused_item(error))
            if record.is_finished or record.owner == owner:  # the latter: the first try's answer got lost on its way
                return record
            looks_again_at = min(record.lease_until, now + DUPLICATE_LOOKS_AGAIN_SECONDS)
            raise Postponed("another worker is on this upload", looks_again_at) from None
        return record_of(answer["Attributes"])

    def write(self, before: Record, after: Record) -> Record:
        """Replace `before` by `after`. Raises Postponed when another worker has taken over or moved the upload on.

        For an upload that was taken for new, raises KnownUpload when the ledger knows it.
        """
        if before.updated_at == _NEVER:
            return self._put(after, "attribute_not_exists(id)", {})
        return self._put(
            after,
            "#owner = :owner AND #state = :state",
            {":owner": before.owner, ":state": before.state},
        )

    def release(self, before: Record, after: Record, due_at: float) -> Record:
        """Write `after` and let go of the upload until `due_at`."""
        return self.write(before, replace(after, due_at=due_at, lease_until=0.0))

    def read(self, job_id: str) -> Record | None:
        """The upload's record as it is now; None when the ledger doesn't know it."""
        answer = self._client.get_item(TableName=self._table, Key={"id": {"S": job_id}}, ConsistentRead=True)
        return record_of(answer["Item"]) if "Item" in answer else None

    def reconsider(self, job_id: str) -> None:
        """Take UNCHANGED back from an upload whose result was replaced; the reconciler sends a message for it."""
        record = self.read(job_id)
        if record is not None and record.state is State.UNCHANGED:
            with suppress(Postponed):  # somebody has moved it on, so it is looked at anyway
                self.write(record, record.reconsidered())

    def paid(self, held: Record, purchase: Purchase, lease_until: float | None = None) -> Record:
        """Write what was bought with `held.call`, with its history and nothing else of `held`.

        What the gateway answered to a key stays true whoever owns the upload meanwhile, so the key decides here.
        Raises Postponed when another worker has written it already.
        """
        now = self._clock.now()
        changes: dict[str, Any] = {
            "history": held.history,
            "state": State.PAID,
            "links": purchase.links,
            "answered_inline": purchase.inline,
            "request_id": purchase.request_id,
            "cost_usd": purchase.cost_usd,
            "paid_at": purchase.paid_at,
            "link_failures": 0,
            "reason": None,
            "failed_at": None,
            "updated_at": now,
        }
        if not purchase.inline:
            changes["call"] = None
        if held.paid_at and held.paid_at != purchase.paid_at:  # the call was repeated for images that got lost
            changes["unsettled_images"] = held.unsettled_images + held.images
        if lease_until is not None:
            changes["lease_until"] = lease_until
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"id": {"S": held.id}},
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in changes),
                ConditionExpression="idempotency_key = :its_key AND NOT #state IN (:its_paid, :its_done)",
                ExpressionAttributeNames={f"#{name}": name for name in changes},
                ExpressionAttributeValues=attributes(
                    {f":{name}": value for name, value in changes.items()}
                    | {":its_key": held.idempotency_key, ":its_paid": State.PAID, ":its_done": State.DONE}
                ),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            item = refused_item(error)
            stored = record_of(item) if item else None
            if stored and stored.state is State.PAID and stored.updated_at == now:
                return stored  # the first try was written and its answer got lost on its way
            raise Postponed("another worker has moved this upload on", now + DUPLICATE_LOOKS_AGAIN_SECONDS) from None
        return record_of(answer["Attributes"])

    def mark_dead_lettered(self, job_id: str, failed_at: str) -> None:
        """The dead letter of this failure is in the queue: a duplicate event sends no second one."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"id": {"S": job_id}},
                UpdateExpression="SET dead_lettered = :yes, lease_until = :zero",
                ConditionExpression="failed_at = :at",
                ExpressionAttributeValues=attributes({":yes": True, ":at": failed_at, ":zero": 0}),
            )
        except ClientError as error:
            refused_item(error)

    def reopen(self, rejected: Record, owner: str, lease_seconds: float, may_be_unanswered: int) -> Record:
        """Go on with a rejected upload whose dead letter was moved back, from the state that it was rejected in.

        Of its call no more than `may_be_unanswered` sendings count as unanswered from here on.
        """
        lease_until = self._clock.now() + lease_seconds + LEASE_MARGIN_SECONDS
        return self._put(
            rejected.reopened(owner, lease_until, may_be_unanswered),
            "#state = :state AND failed_at = :at",
            {":state": State.REJECTED, ":at": rejected.failed_at},
        )

    def keep_answer(self, job_id: str, answer: bytes) -> None:
        """Keep an answer of the gateway that held no image, for KEEP_ANSWER_DAYS; it may hold the prompt and links."""
        expires_at = int(self._clock.now()) + KEEP_ANSWER_DAYS * 86400
        self._client.put_item(
            TableName=self._table,
            Item={
                "id": {"S": f"answer-{job_id}"},
                "answer": {"B": answer},
                "expires_at": {"N": str(expires_at)},
            },
        )

    def _put(self, record: Record, condition: str, values: dict[str, Any]) -> Record:
        now = self._clock.now()
        new = replace(record, updated_at=now)
        item = item_of(new)
        arguments: dict[str, Any] = {}
        if values:
            names = {f"#{name}": name for name in ("owner", "state") if f"#{name}" in condition}
            arguments = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": attributes(values)}
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression=condition,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except ClientError as error:
            stored = refused_item(error)
            # Equal: the first try was written and its answer got lost on its way. Compared as records, because
            # DynamoDB gives numbers back in another form.
            if not stored or record_of(stored) != record_of(item):
                if not values:
                    raise KnownUpload("another worker has this upload, or had it", now) from None
                raise Postponed(
                    "another worker has moved this upload on", now + DUPLICATE_LOOKS_AGAIN_SECONDS
                ) from None
        return new
