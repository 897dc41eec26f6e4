"""The form in which the ledger table keeps a record."""

import json
from dataclasses import fields
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from backdrop.call import Call
from backdrop.states import State
from backdrop.upload import Record

_STORED_AS = {
    "calls_sent": "attempts",
    "failed_attempts": "failed_attempts",
    "forbidden_responses": "faults",
    "idempotency_key_number": "idempotency_key_number",
    "queue_position": "queue_position",
    "reenqueued": "enqueued",
}
"""Attributes whose names are those of version 0.1, so that an update, and a way back, find every upload as it was."""

_BESIDE_CALL = {"path": "call_path", "headers": "call_headers"}
"""Attributes for fields of `Call` that version 0.1 doesn't have: it could not read them inside of `call`."""


def attributes(values: dict[str, Any]) -> dict[str, Any]:
    """Plain values in the form of DynamoDB."""
    plain = json.loads(json.dumps(values), parse_float=Decimal)
    return {name: TypeSerializer().serialize(value) for name, value in plain.items()}


def item_of(record: Record) -> dict[str, Any]:
    """The item that keeps a record."""
    values = {_STORED_AS.get(name, name): value for name, value in vars(record).items()}
    if record.call:
        values["call"] = dict(vars(record.call))
        values |= {_BESIDE_CALL[name]: values["call"].pop(name) for name in _BESIDE_CALL}
    return attributes(values)


def record_of(item: dict[str, Any]) -> Record:
    """The record that an item keeps, written by this version or an earlier one."""
    stored = {field.name: _STORED_AS.get(field.name, field.name) for field in fields(Record)}
    values = {
        name: _plain(TypeDeserializer().deserialize(item[attribute]))
        for name, attribute in stored.items()
        if attribute in item
    }
    for name in ("links", "outputs", "history"):
        values[name] = tuple(values.get(name) or ())
    call = values.get("call")
    beside = {
        name: _plain(TypeDeserializer().deserialize(item[attribute]))
        for name, attribute in _BESIDE_CALL.items()
        if attribute in item
    }
    values["call"] = Call(**call, **beside) if call else None
    values["state"] = State(values["state"])
    values["rejected_in"] = State(values["rejected_in"]) if values.get("rejected_in") else None
    if "replays" in item:  # written by an earlier version: replays without an answer, the first call not counted
        values["unanswered"] = int(item["replays"]["N"]) + (State.UNKNOWN in (values["state"], values["rejected_in"]))
        values.setdefault("unsettled_images", values["unanswered"] * values.get("images", 0))
    return Record(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value


def refused_item(error: ClientError) -> dict[str, Any]:
    """The stored item behind a refused condition; any other error goes on."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    item: dict[str, Any] = error.response.get("Item", {})  # type: ignore[assignment]
    return item
