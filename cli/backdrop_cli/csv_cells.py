"""Cells of tables that people open in spreadsheets: none is taken for a formula, and each is read back as it was.

https://owasp.org/www-community/attacks/CSV_Injection
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def protected(cell: str) -> str:
    """A text as it is written: one that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def plain(cell: str) -> str:
    """A text as it was before it was `protected`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
