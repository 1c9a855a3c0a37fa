"""Text from outside, made safe to show."""

from typing import Annotated

from pydantic import AfterValidator


def printable(text: str) -> str:
    r"""The text on one line, with unprintable characters spelled out: a tab as `\t`, a NUL as `\x00`."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


# PostgreSQL, in which Prefect keeps parameters and states, stores no NUL: the server would answer 500 every time.
Printable = Annotated[str, AfterValidator(printable)]
