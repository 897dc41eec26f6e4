"""DynamoDB's part in the pace, in memory: `get_item` and conditional `update_item` on one item.

It understands the few forms of expression that `pace` writes, by way of Python's own, so that ten thousand uploads can
be played in seconds. tests/integration/test_pace.py holds the same decisions against moto.
"""

import math
import re
from typing import Any

from botocore.exceptions import ClientError

_WORDS = {"=": "==", "<>": "!=", "AND": "and", "OR": "or", "NOT": "not"}


class PaceTable:
    """One item; `writes` counts what the table was asked to write, refused or not."""

    def __init__(self) -> None:
        self.item: dict[str, Any] = {}
        self.writes = 0

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self._typed()}

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        self.writes += 1
        values = {
            name: value["S"] if "S" in value else int(value["N"])
            for name, value in arguments["ExpressionAttributeValues"].items()
        }
        condition = arguments.get("ConditionExpression")
        if condition and not self._evaluate(condition, values):
            response: Any = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": self._typed()}
            raise ClientError(response, "UpdateItem")
        sets, _, removes = arguments["UpdateExpression"].removeprefix("SET ").partition(" REMOVE ")
        new = {}
        for assignment in re.split(r", (?=#?\w+ = )", sets):
            name, _, expression = assignment.partition(" = ")
            new[name.lstrip("#")] = self._evaluate(expression, values)
        self.item |= new
        for name in filter(None, removes.split(", ")):
            self.item.pop(name, None)
        return {"Attributes": self._typed()}

    def _evaluate(self, expression: str, values: dict[str, Any]) -> Any:
        expression = re.sub(r"(\S+) BETWEEN (\S+) AND (\S+)", r"(\2 <= \1 and \1 <= \3)", expression)
        expression = re.sub(r"attribute_(not_)?exists\(#?(\w+)\)", r"(\1exists('\2'))", expression)
        expression = expression.replace("not_exists", "not exists")
        expression = re.sub(r"if_not_exists\(#?(\w+), (:\w+)\)", r"either('\1', \2)", expression)
        expression = " ".join(_WORDS.get(word, word) for word in expression.split(" "))
        expression = re.sub(r":(\w+)", r"values[':\1']", expression)
        expression = re.sub(r"(?<!['\w:])#?([a-z_]+)(?![\w('\[])", self._name, expression)
        functions = {
            "exists": lambda name: name in self.item,
            "either": lambda name, value: self.item.get(name, value),
            "get": lambda name: self.item.get(name, math.nan),
        }
        return eval(expression, {"__builtins__": {}}, {"values": values, **functions})

    @staticmethod
    def _name(found: re.Match[str]) -> str:
        return found[0] if found[1] in ("and", "or", "not", "values") else f"get('{found[1]}')"

    def _typed(self) -> dict[str, Any]:
        return {
            name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in self.item.items()
        }
