"""Text of others, as it may be shown."""

import unicodedata


def printable(text: str) -> str:
    """Without what a terminal would obey: keys and the gateway's words are somebody else's."""
    return "".join("�" if unicodedata.category(each) == "Cc" and each != "\n" else each for each in text)
