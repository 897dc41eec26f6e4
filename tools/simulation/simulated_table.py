"""DynamoDB in memory, for the few forms of expression that Backdrop writes.

Expressions are understood by way of Python's own. tests/integration hold the same decisions against moto.
"""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from types import CodeType
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

_WORDS = {"=": "==", "<>": "!=", "AND": "and", "OR": "or", "NOT": "not", "IN": "in"}


class SimulatedTable:
    """One table. `wrote` is called with the id and the write units of each item that is written to or refused."""

    def __init__(self, wrote: Callable[[str, int], None] | None = None) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self._wrote = wrote

    def get_item(self, Key: dict[str, Any], **_: Any) -> dict[str, Any]:
        """As DynamoDB's."""
        item = self.items.get(Key["id"]["S"])
        return {"Item": dict(item)} if item else {}

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        """As DynamoDB's."""
        [(table, wanted)] = RequestItems.items()
        found = [self.items[key["id"]["S"]] for key in wanted["Keys"] if key["id"]["S"] in self.items]
        return {"Responses": {table: [dict(item) for item in found]}}

    def scan(self, FilterExpression: str, ExpressionAttributeValues: dict[str, Any], **_: Any) -> dict[str, Any]:
        """As DynamoDB's, in one page; whole items, whatever is asked for."""
        values = {name: _plain(value) for name, value in ExpressionAttributeValues.items()}
        code = _code(FilterExpression)
        return {"Items": [dict(item) for item in self.items.values() if _evaluate(code, item, values)]}

    def put_item(self, Item: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """As DynamoDB's."""
        self._check(Item["id"]["S"], arguments, "PutItem", Item)
        self.items[Item["id"]["S"]] = dict(Item)
        return {}

    def update_item(self, Key: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """As DynamoDB's."""
        item_id = Key["id"]["S"]
        old = self.items.get(item_id, {})
        values = self._check(item_id, arguments, "UpdateItem", old)
        parts = _parts(arguments["UpdateExpression"])
        new = {name: _typed(_evaluate(code, old, values)) for name, code in parts.sets}
        item = self.items[item_id] = {**Key, **old, **new}
        for name in parts.removes:
            item.pop(name, None)
        for names, change in ((parts.adds, _added), (parts.deletes, _without)):
            for name, value in names:
                changed = change(item.pop(name, None), arguments["ExpressionAttributeValues"][value])
                if changed:
                    item[name] = changed
        return {"Attributes": dict(item)}

    def _check(
        self, item_id: str, arguments: dict[str, Any], operation: str, written: dict[str, Any]
    ) -> dict[str, Any]:
        """The values, if the condition holds."""
        if self._wrote:
            self._wrote(item_id, write_units(written))
        values = {name: _plain(value) for name, value in arguments.get("ExpressionAttributeValues", {}).items()}
        old = self.items.get(item_id, {})
        condition = arguments.get("ConditionExpression")
        if condition and not _evaluate(_code(condition), old, values):
            response: Any = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": dict(old)}
            raise ClientError(response, operation)
        return values


class _Parts(NamedTuple):
    """What an update does: names with code, names, and names with those of values."""

    sets: list[tuple[str, CodeType]]
    removes: list[str]
    adds: list[tuple[str, str]]
    deletes: list[tuple[str, str]]


@cache
def _parts(expression: str) -> _Parts:
    _, *clauses = re.split(r"(?:^| )(SET|REMOVE|ADD|DELETE) ", expression)
    texts = dict(zip(clauses[::2], clauses[1::2], strict=True))
    assignments = (part.partition(" = ") for part in re.split(r", (?=#?\w+ = )", texts.get("SET", "")) if part)

    def pairs(clause: str) -> list[tuple[str, str]]:
        return [(name, value) for name, _, value in (part.partition(" ") for part in texts[clause].split(", "))]

    return _Parts(
        [(name.lstrip("#"), _code(text)) for name, _, text in assignments],
        texts["REMOVE"].split(", ") if "REMOVE" in texts else [],
        pairs("ADD") if "ADD" in texts else [],
        pairs("DELETE") if "DELETE" in texts else [],
    )


def _added(old: dict[str, Any] | None, value: dict[str, Any]) -> dict[str, Any]:
    """A number with another one added, or a set with more in it."""
    if "N" in value:
        return {"N": str(Decimal(old["N"] if old else 0) + Decimal(value["N"]))}
    return {"SS": sorted({*(old["SS"] if old else ()), *value["SS"]})}


def _without(old: dict[str, Any] | None, value: dict[str, Any]) -> dict[str, Any]:
    """A set with less in it; nothing when it would be empty."""
    left = set(old["SS"] if old else ()) - set(value["SS"])
    return {"SS": sorted(left)} if left else {}


@cache
def _code(expression: str) -> CodeType:
    expression = re.sub(r"(\S+) BETWEEN (\S+) AND (\S+)", r"(\2 <= \1 and \1 <= \3)", expression)
    expression = re.sub(r"NOT (\S+) IN \(([^)]*)\)", r"NOT (\1 IN (\2))", expression)
    expression = re.sub(r"if_not_exists\(#?(\w+), (:\w+)\)", r"either('\1', \2)", expression)
    expression = re.sub(r"contains\((\w+), (:\w+)\)", r"has('\1', \2)", expression)
    expression = re.sub(r"attribute_not_exists\(#?(\w+)\)", r"(NOT exists('\1'))", expression)
    expression = re.sub(r"attribute_exists\(#?(\w+)\)", r"exists('\1')", expression)
    expression = re.sub(r"[^\s()]+", lambda word: _WORDS.get(word[0], word[0]), expression)
    expression = re.sub(r":(\w+)", r"values[':\1']", expression)
    expression = re.sub(r"(?<!['\w:])#?([a-z_]+)(?![\w('\[])", _name, expression)
    return compile(expression, "<expression>", "eval")


def _name(found: re.Match[str]) -> str:
    return found[0] if found[1] in ("and", "or", "not", "in", "values") else f"get('{found[1]}')"


def _evaluate(code: CodeType, item: dict[str, Any], values: dict[str, Any]) -> Any:
    def get(name: str) -> Any:
        return _plain(item[name]) if name in item else math.nan

    functions = {
        "exists": lambda name: name in item,
        "either": lambda name, value: _plain(item[name]) if name in item else value,
        "has": lambda name, value: name in item and value in item[name]["SS"],
        "get": get,
    }
    return eval(code, {"__builtins__": {}}, {"values": values, **functions})  # noqa: S307 - our own expressions


def _plain(value: dict[str, Any]) -> Any:
    """A value to compare and to count with; what is neither text nor a number stays as it is."""
    if "S" in value:
        return value["S"]
    if "N" in value:
        return int(value["N"]) if value["N"].lstrip("-").isdigit() else float(value["N"])
    return value


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def write_units(item: Mapping[str, Any]) -> int:
    """What DynamoDB counts for writing an item: one for each begun kilobyte."""
    size = sum(len(name) + len(str(value)) for name, value in item.items())
    return -(-max(size, 1) // 1024)
