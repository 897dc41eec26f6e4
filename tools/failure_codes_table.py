"""`python -m tools.failure_codes_table`: put the table of failure codes into docs/failures.md."""

import re
from pathlib import Path

from backdrop.failure_codes import FailureCode

PAGE = Path(__file__).parent.parent / "docs" / "failures.md"
_HEAD = "| code | billed | what happened | what to do |\n|---|---|---|---|\n"
_TABLE = re.compile(rf"^{re.escape(_HEAD)}(?:\|.*\n)*", re.MULTILINE)


def table() -> str:
    """The codes in their order, with what people are told about each."""
    return _HEAD + "".join(f"| `{code}` | {code.billed} | {code.means} | {code.advice} |\n" for code in FailureCode)


def with_table(page: str) -> str:
    """The page with the table as the code has it today."""
    return _TABLE.sub(lambda _: table(), page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
